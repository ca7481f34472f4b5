-- SPDX-License-Identifier: Apache-2.0
-- What the invoices of these accounts were rated from, in order of account and of being issued: of
-- each period the one that stands, else the last that was voided, and whether the period is open again.
-- $1 text[]: accounts
SELECT account, period, voided, inputs, voided AND NOT again
FROM (
    SELECT DISTINCT ON (account, period) account, period, voided, inputs, place,
           bool_or(again) OVER (PARTITION BY account, period) AS again
    FROM (
        SELECT i.account, i.period, i.inputs, i.place,
               EXISTS (SELECT FROM invoice c
                       WHERE c.account = i.account AND c.credits_number = i.number) AS voided,
               EXISTS (SELECT FROM closed_again a
                       WHERE a.account = i.account AND a.number = i.number) AS again
        FROM invoice i
        WHERE i.account = ANY ($1::text[]) AND i.kind = 0
    ) AS i
    ORDER BY account, period, voided, place DESC
) AS kept
ORDER BY account, place;
