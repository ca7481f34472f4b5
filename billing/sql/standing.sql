-- SPDX-License-Identifier: Apache-2.0
-- The invoice of an account and period that stands, or NULL; and whether the period is open again: its
-- invoices were voided, and it was not closed again with nothing to bill.
-- $1 text: account
-- $2 date: the period's first day
SELECT max(number) FILTER (WHERE NOT voided), coalesce(bool_and(voided) AND NOT bool_or(again), false)
FROM (
    SELECT i.number,
           EXISTS (SELECT FROM invoice c
                   WHERE c.account = i.account AND c.credits_number = i.number) AS voided,
           EXISTS (SELECT FROM closed_again a
                   WHERE a.account = i.account AND a.number = i.number) AS again
    FROM invoice i
    WHERE i.account = $1::text AND i.period = $2::date AND i.kind = 0
) AS i;
