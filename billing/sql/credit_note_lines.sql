-- SPDX-License-Identifier: Apache-2.0
-- Writes the lines of a credit note: its invoice's, with their amounts negated.
-- $1 text: account
-- $2 text: the invoice
-- $3 text: the credit note's number
INSERT INTO invoice_line (account, number, line, kind, description, from_day, to_day, quantity_cm,
                          price_e12, ref_period, ref_grant, cents)
SELECT account, $3::text, line, kind, description, from_day, to_day, quantity_cm,
       price_e12, ref_period, ref_grant, -cents
FROM invoice_line
WHERE account = $1::text AND number = $2::text;
