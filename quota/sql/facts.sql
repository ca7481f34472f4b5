-- SPDX-License-Identifier: Apache-2.0
-- What VMs are, by their place in the lists.
-- $1 text[] accounts, $2 text[] VMs
SELECT asked.n, v.phase = 1 AS runs, v.sizes, u.why, r.id, r.size, r.reserved_at, r.expires_at
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (account, vm, n)
LEFT JOIN vm v USING (account, vm)
LEFT JOIN uncounted u USING (account, vm)
LEFT JOIN reservation r USING (account, vm)
WHERE v.vm IS NOT NULL OR u.vm IS NOT NULL OR r.vm IS NOT NULL
