-- SPDX-License-Identifier: Apache-2.0
-- What standing invoices charge for each period of these accounts, by their own lines and by
-- adjustments, and whether the period is open again: its last invoice was voided.
-- $1 text[]: accounts
WITH issued AS MATERIALIZED (
    SELECT i.account, i.number, i.period,
           EXISTS (SELECT FROM invoice c
                   WHERE c.account = i.account AND c.credits_number = i.number) AS voided
    FROM invoice i
    WHERE i.account = ANY ($1::text[]) AND i.kind = 0
), charge AS (
    SELECT account, period, 0 AS cents, voided FROM issued
    UNION ALL
    SELECT i.account, coalesce(l.ref_period, i.period), l.cents, NULL
    FROM issued i
    JOIN invoice_line l USING (account, number)
    WHERE NOT i.voided
      AND l.kind IN ('base_fee', 'credits', 'discount', 'minimum', 'adjustment')
)
SELECT account, period, sum(cents)::bigint AS charged, coalesce(bool_and(voided), false) AS again
FROM charge
GROUP BY account, period
ORDER BY account, period;
