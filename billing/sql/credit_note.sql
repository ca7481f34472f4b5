-- SPDX-License-Identifier: Apache-2.0
-- Writes the credit note of an invoice: what that says and keeps, with its amounts negated.
-- $1 text: the invoice
-- $2 text: the credit note's number
-- $3 text: the reason
-- $4 timestamptz: when it is issued
-- $5 bigint: its place in the chain
-- $6 text: its hash in hexadecimal
-- $7 text: the hash at the place before
INSERT INTO invoice (account, period, number, kind, credits_number, reason, name, issued_at,
                     currency, included_credit_minutes, granted_credit_minutes,
                     purchased_credit_minutes, subtotal_cents, total_cents, catalog_revision,
                     account_revision, usage, inputs, place, hash, previous_hash)
SELECT account, period, $2::text, 1, number, $3::text, name, $4::timestamptz,
       currency, included_credit_minutes, granted_credit_minutes,
       purchased_credit_minutes, -subtotal_cents, -total_cents, catalog_revision,
       account_revision, usage, inputs, $5::bigint, decode($6::text, 'hex'), decode($7::text, 'hex')
FROM invoice
WHERE number = $1::text;
