-- SPDX-License-Identifier: Apache-2.0
-- What VMs are, by their place in the lists. OFFSET 0 keeps each look-up one by key, whatever size the tables had when
-- the statement was planned.
-- $1 text[] accounts, $2 text[] VMs
SELECT asked.n, v.phase = 1 AS runs, v.sizes, u.why, r.id, r.size, r.reserved_at, r.expires_at,
       d.vm IS NOT NULL AS doubt, d.vm IS NOT NULL AND d.until IS NULL AS doubted
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (account, vm, n)
LEFT JOIN LATERAL (SELECT * FROM vm WHERE account = asked.account AND vm = asked.vm OFFSET 0) v ON true
LEFT JOIN LATERAL (SELECT * FROM uncounted WHERE account = asked.account AND vm = asked.vm OFFSET 0) u ON true
LEFT JOIN LATERAL (SELECT * FROM reservation WHERE account = asked.account AND vm = asked.vm OFFSET 0) r ON true
LEFT JOIN LATERAL (SELECT * FROM doubt WHERE account = asked.account AND vm = asked.vm OFFSET 0) d ON true
WHERE v.vm IS NOT NULL OR u.vm IS NOT NULL OR r.vm IS NOT NULL OR d.vm IS NOT NULL
