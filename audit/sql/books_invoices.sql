-- SPDX-License-Identifier: Apache-2.0
-- Invoices and credit notes of accounts, by account and in the order of issue, with what they drew
-- and carried forward, and whether its period was closed again with nothing to bill; the other
-- columns are those of chain_invoices.
-- $1 text[]: accounts
SELECT i.account, i.number, i.place, i.kind, i.credits_number, i.reason, i.name,
       to_char(i.issued_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS issued_at,
       i.currency, i.period::text AS period, i.included_credit_minutes, i.granted_credit_minutes,
       i.purchased_credit_minutes, i.subtotal_cents, i.total_cents, i.catalog_revision,
       i.account_revision, encode(i.hash, 'hex') AS hash, encode(i.previous_hash, 'hex') AS previous,
       i.inputs::text AS inputs,
       json_build_object('usage', i.usage, 'lines', (
           SELECT json_agg(json_build_array(l.line::text, l.kind, l.description, l.from_day::text,
                      l.to_day::text, l.quantity_cm::text, l.price_e12::text, l.ref_period::text,
                      l.ref_grant, l.cents::text) ORDER BY l.line)
           FROM invoice_line l
           WHERE l.account = i.account AND l.number = i.number), 'draws', (
           SELECT json_agg(json_build_array(d.grant_id, d.unit::text, d.amount::text)
                      ORDER BY d.grant_id)
           FROM grant_draw d
           WHERE d.account = i.account AND d.number = i.number), 'carried', (
           SELECT json_agg(json_build_array(g.from_day::text, g.cents::text))
           FROM carried_grant g
           WHERE g.account = i.account AND g.number = i.number), 'again', EXISTS (
           SELECT FROM closed_again a
           WHERE a.account = i.account AND a.number = i.number)) AS body
FROM invoice i
WHERE i.account = ANY ($1::text[])
ORDER BY i.account, i.place, i.number;
