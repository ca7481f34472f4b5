-- SPDX-License-Identifier: Apache-2.0
-- All invoices and credit notes in the order of issue; those without a place come last. Instants and
-- days are text, so that whatever stands there can be looked at.
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
           WHERE l.account = i.account AND l.number = i.number)) AS body
FROM (SELECT * FROM invoice ORDER BY place, number OFFSET 0) AS i -- sorted before bodies are made
ORDER BY i.place, i.number;
