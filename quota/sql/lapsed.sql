-- SPDX-License-Identifier: Apache-2.0
-- Reservations (why NULL) and vouches (why 0) of some accounts whose time is over, and what their VMs are.
-- $1 text[] accounts, $2 how many of each at most
WITH p AS (
    SELECT CASE WHEN count(*) = 0 THEN clock_timestamp() WHEN count(*) = count(progress) THEN min(progress) END
           AS progress FROM position
)
(SELECT r.account, r.vm, NULL::smallint AS why, coalesce(v.phase = 1, false) AS runs, u.vm IS NOT NULL AS uncounted,
        true AS reserved
 FROM p, reservation r LEFT JOIN vm v USING (account, vm) LEFT JOIN uncounted u USING (account, vm)
 WHERE r.account = ANY ($1::text[]) AND r.lapses_at < p.progress LIMIT $2::integer)
UNION ALL
(SELECT u.account, u.vm, u.why, coalesce(v.phase = 1, false), true, r.vm IS NOT NULL
 FROM p, uncounted u LEFT JOIN vm v USING (account, vm) LEFT JOIN reservation r USING (account, vm)
 WHERE u.account = ANY ($1::text[]) AND u.until < p.progress LIMIT $2::integer)
