-- SPDX-License-Identifier: Apache-2.0
-- The invoices and credit notes of a period, in order of number.
-- $1 date: the period's first day
SELECT i.number, i.account, i.name, i.period, i.issued_at, i.credits_number, i.reason,
       EXISTS (SELECT FROM invoice c
               WHERE c.account = i.account AND c.credits_number = i.number) AS voided,
       i.included_credit_minutes, i.granted_credit_minutes, i.purchased_credit_minutes,
       i.subtotal_cents, i.total_cents, encode(i.hash, 'hex') AS hash,
       encode(i.previous_hash, 'hex') AS previous_hash,
       json_build_object('usage', i.usage, 'lines', (
           SELECT coalesce(json_agg(json_build_array(l.kind, l.description, l.from_day, l.to_day,
                      l.quantity_cm::text, l.price_e12::text, to_char(l.ref_period, 'YYYY-MM'),
                      l.ref_grant, l.cents) ORDER BY l.line), '[]')
           FROM invoice_line l
           WHERE l.account = i.account AND l.number = i.number)) AS body
FROM invoice i
WHERE i.period = $1::date
ORDER BY split_part(i.number, '-', 1), split_part(i.number, '-', 2), length(i.number), i.number;
