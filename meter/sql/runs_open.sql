-- SPDX-License-Identifier: Apache-2.0
-- A page of VMs with an open run that began before `to`, the newest first, behind a key.
-- $1 account, $2 to or infinity, $3 VM or NULL for all, $4 the key's start, $5 its VM, $6 its nth, $7 how many at most
SELECT vm, started_at, nth, sizes, proof_at FROM vm
WHERE account = $1 AND listed AND phase = 1 AND started_at < $2::timestamptz
  AND ($3::text IS NULL OR vm = $3)
  AND (started_at, vm, nth) < ($4::timestamptz, $5, $6::integer)
ORDER BY started_at DESC, vm DESC, nth DESC
LIMIT $7::integer
