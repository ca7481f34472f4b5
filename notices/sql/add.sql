-- SPDX-License-Identifier: Apache-2.0
-- Writes notices in their order; those with a step that were said already are left out. One round
-- trip, and one look at what was said: of two transactions that say the same, the later one waits
-- for the earlier one's end.
-- $1 text[]: accounts
-- $2 text[]: types
-- $3 text[]: subjects
-- $4 text[]: data, a JSON object each
-- $5 text[]: steps; NULL: said each time
WITH wanted AS (
    SELECT *, CASE WHEN step IS NOT NULL
                   THEN min(nth) OVER (PARTITION BY account, type, subject, step) END AS first_nth
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
        WITH ORDINALITY AS u (account, type, subject, data, step, nth)
), fresh AS (
    INSERT INTO noticed (account, type, subject, step)
    SELECT account, type, subject, step FROM wanted WHERE nth = first_nth
    ORDER BY account COLLATE "C", type, subject COLLATE "C", step COLLATE "C"
    ON CONFLICT DO NOTHING
    RETURNING account, type, subject, step
)
INSERT INTO notice (account, type, subject, data)
SELECT w.account, w.type, w.subject, w.data::jsonb
FROM wanted w LEFT JOIN fresh f USING (account, type, subject, step)
WHERE w.step IS NULL OR (w.nth = w.first_nth AND f.step IS NOT NULL)
ORDER BY w.nth;
