-- SPDX-License-Identifier: Apache-2.0
-- All events of some VMs, by VM in order of time.
-- $1 text[] accounts, $2 text[] VMs
SELECT e.account, e.vm, e.source, e.id, e.at, e.type, e.bootup, e.sequence, e.size, e.millicpu, e.memory_bytes,
       e.run, e.reservation, e.reason, e.target_source, e.target_id, e.origin, e.position
FROM unnest($1::text[], $2::text[]) AS asked (account, vm)
JOIN event e USING (account, vm)
ORDER BY e.account, e.vm, e.at
