-- SPDX-License-Identifier: Apache-2.0
-- A page of an account's VMs that may have a run, or an event, at or after a time.
-- $1 text: account
-- $2 text: the VM before the first
-- $3 timestamptz: the time
-- $4 integer: how many at most
SELECT vm FROM vm
WHERE account = $1::text AND vm > $2::text AND (last_at >= $3::timestamptz OR phase = 1)
ORDER BY vm
LIMIT $4::integer
