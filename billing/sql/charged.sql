-- SPDX-License-Identifier: Apache-2.0
-- What standing invoices charge for each period of these accounts, by their own lines and by
-- adjustments, and whether the period is open again: its invoices were voided, and it was not closed
-- again with nothing to bill.
-- $1 text[]: accounts
WITH issued AS MATERIALIZED (
    SELECT i.account, i.number, i.period,
           EXISTS (SELECT FROM invoice c
                   WHERE c.account = i.account AND c.credits_number = i.number) AS voided,
           EXISTS (SELECT FROM closed_again a
                   WHERE a.account = i.account AND a.number = i.number) AS again
    FROM invoice i
    WHERE i.account = ANY ($1::text[]) AND i.kind = 0
), charge AS (
    SELECT account, period, 0 AS cents, voided, again FROM issued
    UNION ALL
    SELECT i.account, coalesce(l.ref_period, i.period), l.cents, NULL, NULL
    FROM issued i
    JOIN invoice_line l USING (account, number)
    WHERE NOT i.voided
      AND l.kind IN ('base_fee', 'credits', 'discount', 'minimum', 'adjustment')
)
SELECT account, period, sum(cents)::bigint AS charged,
       coalesce(bool_and(voided) AND NOT bool_or(again), false) AS open
FROM charge
GROUP BY account, period
ORDER BY account, period;
