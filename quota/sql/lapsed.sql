-- SPDX-License-Identifier: Apache-2.0
-- Reservations (why NULL) and vouches (why 0) of an account whose time is over, and what their VMs are.
-- $1 account, $2 progress, $3 how many of each at most
(SELECT r.vm, NULL::smallint AS why, coalesce(v.phase = 1, false) AS runs, u.vm IS NOT NULL AS uncounted,
        true AS reserved
 FROM reservation r
 LEFT JOIN LATERAL (SELECT * FROM vm WHERE account = $1 AND vm = r.vm OFFSET 0) v ON true
 LEFT JOIN LATERAL (SELECT * FROM uncounted WHERE account = $1 AND vm = r.vm OFFSET 0) u ON true
 WHERE r.account = $1 AND r.lapses_at < $2::timestamptz LIMIT $3::integer)
UNION ALL
(SELECT u.vm, u.why, coalesce(v.phase = 1, false), true, r.vm IS NOT NULL
 FROM uncounted u
 LEFT JOIN LATERAL (SELECT * FROM vm WHERE account = $1 AND vm = u.vm OFFSET 0) v ON true
 LEFT JOIN LATERAL (SELECT * FROM reservation WHERE account = $1 AND vm = u.vm OFFSET 0) r ON true
 WHERE u.account = $1 AND u.until < $2::timestamptz LIMIT $3::integer)
