-- SPDX-License-Identifier: Apache-2.0
-- Reservations of VMs, and why their runs do not count, by their place in the lists.
-- $1 text[] accounts, $2 text[] VMs
SELECT asked.n, r.id, r.reserved_at, r.starts_from, u.why, u.since, u.starts_from
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (account, vm, n)
LEFT JOIN reservation r USING (account, vm)
LEFT JOIN uncounted u USING (account, vm)
WHERE r.vm IS NOT NULL OR u.vm IS NOT NULL
