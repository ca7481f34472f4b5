-- SPDX-License-Identifier: Apache-2.0
-- Reservations of VMs, why their runs do not count, and whether they are in doubt, by their place in the lists.
-- $1 text[] accounts, $2 text[] VMs
SELECT asked.n, r.id, r.reserved_at, r.starts_from, u.why, u.since, u.starts_from,
       d.vm IS NOT NULL AS doubt
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (account, vm, n)
LEFT JOIN reservation r USING (account, vm)
LEFT JOIN uncounted u USING (account, vm)
LEFT JOIN doubt d USING (account, vm)
WHERE r.vm IS NOT NULL OR u.vm IS NOT NULL OR d.vm IS NOT NULL
