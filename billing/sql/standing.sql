-- SPDX-License-Identifier: Apache-2.0
-- The invoice of an account and period: the one that stands, else the last that was voided.
-- $1 text: account
-- $2 date: the period's first day
SELECT number, voided
FROM (
    SELECT i.number, i.issued_at,
           EXISTS (SELECT FROM invoice c
                   WHERE c.account = i.account AND c.credits_number = i.number) AS voided
    FROM invoice i
    WHERE i.account = $1::text AND i.period = $2::date AND i.kind = 0
) AS i
ORDER BY voided, issued_at DESC, number DESC
LIMIT 1;
