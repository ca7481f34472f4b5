-- SPDX-License-Identifier: Apache-2.0
-- A page of an account's invoices and credit notes, the last issued first; the columns are those of
-- invoice_list, and the place in the chain behind them.
-- $1 text: account
-- $2 bigint: the place before which it begins
-- $3 integer: how many at most
WITH page AS MATERIALIZED ( -- an account has few; the chain has everybody's
    SELECT place, number FROM invoice
    WHERE account = $1::text
)
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
           WHERE l.account = i.account AND l.number = i.number)) AS body,
       i.place
FROM (SELECT place, number FROM page WHERE place < $2::bigint
      ORDER BY place DESC LIMIT $3::integer) AS p
JOIN invoice i ON i.account = $1::text AND i.number = p.number
ORDER BY i.place DESC
