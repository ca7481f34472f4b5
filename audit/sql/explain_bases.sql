-- SPDX-License-Identifier: Apache-2.0
-- What periods of an account were rated from, each time that an invoice charged or adjusted them, in order of issue;
-- and the place of the credit note that took that invoice back; own: it was the period's.
-- $1 text: account
-- $2 date[]: the periods' first days
WITH charged AS MATERIALIZED (
    SELECT i.place, i.number, i.period, i.inputs,
           (SELECT c.place FROM invoice c
            WHERE c.account = i.account AND c.credits_number = i.number) AS voided_place
    FROM invoice i
    WHERE i.account = $1::text AND i.kind = 0
)
SELECT period, place, number, voided_place, inputs, true AS own
FROM charged
WHERE period = ANY ($2::date[])
UNION ALL
SELECT to_date(a ->> 'period', 'YYYY-MM'), c.place, c.number, c.voided_place, a -> 'rated', false
FROM charged c
CROSS JOIN LATERAL jsonb_array_elements(c.inputs -> 'adjustments') AS a
WHERE to_date(a ->> 'period', 'YYYY-MM') = ANY ($2::date[]) AND to_date(a ->> 'period', 'YYYY-MM') <> c.period
ORDER BY place
