-- SPDX-License-Identifier: Apache-2.0
-- Takes VMs that have not run for a while off the list of those that may run; a few at a time, passing over
-- those that are being written.
-- $1 idle since before this time, $2 limit
UPDATE vm SET listed = false
WHERE (account, vm) IN (SELECT account, vm FROM vm
                        WHERE listed AND phase = 0 AND last_at < $1::timestamptz
                        LIMIT $2::integer FOR UPDATE SKIP LOCKED)
