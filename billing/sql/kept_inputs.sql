-- SPDX-License-Identifier: Apache-2.0
-- What the invoices of these accounts were rated from, in order of account and of being issued: of
-- each period the one that stands, else the last that was voided.
-- $1 text[]: accounts
SELECT account, period, voided, inputs
FROM (
    SELECT DISTINCT ON (account, period) account, period, voided, inputs, place
    FROM (
        SELECT i.account, i.period, i.issued_at, i.number, i.inputs, i.place,
               EXISTS (SELECT FROM invoice c
                       WHERE c.account = i.account AND c.credits_number = i.number) AS voided
        FROM invoice i
        WHERE i.account = ANY ($1::text[]) AND i.kind = 0
    ) AS i
    ORDER BY account, period, voided, issued_at DESC, number DESC
) AS kept
ORDER BY account, place NULLS FIRST;
