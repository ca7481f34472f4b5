-- SPDX-License-Identifier: Apache-2.0
-- A page of VMs with an open run, the newest first, behind a key.
-- $1 account, $2 VM or NULL for all, $3 the key's start, $4 its VM, $5 its nth, $6 how many at most
SELECT vm, started_at, nth, sizes, proof_at FROM vm
WHERE account = $1 AND listed AND phase = 1 AND ($2::text IS NULL OR vm = $2)
  AND (started_at, vm, nth) < ($3::timestamptz, $4, $5::integer)
ORDER BY started_at DESC, vm DESC, nth DESC
LIMIT $6::integer
