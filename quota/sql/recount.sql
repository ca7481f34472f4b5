-- SPDX-License-Identifier: Apache-2.0
-- Counts anew what accounts, whose rows are locked, have in use; what is being metered just now adds its difference to
-- that. Only those that were miscounted are written.
-- $1 text[] accounts
WITH counted AS (
    SELECT a.account, count(*) FILTER (WHERE s.runs) AS running, count(*) FILTER (WHERE s.reserved AND NOT s.runs) AS reserved
    FROM unnest($1::text[]) AS a (account)
    LEFT JOIN LATERAL (
        SELECT coalesce(v.phase = 1, false)
               AND NOT EXISTS (SELECT FROM uncounted u WHERE u.account = a.account AND u.vm = coalesce(v.vm, r.vm)) AS runs,
               r.vm IS NOT NULL AS reserved
        FROM (SELECT vm, phase FROM vm WHERE account = a.account AND listed AND phase = 1) v
        FULL JOIN (SELECT vm FROM reservation WHERE account = a.account) r USING (vm)) s ON true
    GROUP BY a.account
)
UPDATE quota q SET running = c.running, reserved = c.reserved, version = q.version + 1
FROM counted c
WHERE q.account = c.account AND (q.running <> c.running OR q.reserved <> c.reserved)
