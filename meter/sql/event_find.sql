-- SPDX-License-Identifier: Apache-2.0
-- Stored events of these identities, by their place in the lists; the columns of history_events behind it.
-- $1 text[] accounts, $2 text[] VMs, $3 text[] sources, $4 text[] ids
SELECT e.account, e.vm, e.source, e.id, e.at, e.type, e.bootup, e.sequence, e.size, e.millicpu, e.memory_bytes,
       e.run, e.reservation, e.reason, e.target_source, e.target_id, e.origin, e.position, asked.n
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS asked (account, vm, source, id, n)
JOIN event e USING (account, vm, source, id)
