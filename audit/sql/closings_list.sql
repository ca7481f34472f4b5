-- SPDX-License-Identifier: Apache-2.0
-- All closings in order; whether the account that one has come to is there; and whether all accounts
-- are no more than one batch.
-- $1 bigint: how many accounts one batch has
SELECT c.period::text AS period, c.closed, c.after,
       to_char(c.horizon AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS horizon,
       EXISTS (SELECT FROM account a WHERE a.account = c.after) AS known,
       NOT EXISTS (SELECT FROM account OFFSET $1::bigint - 1) AS whole
FROM closing c
ORDER BY c.period;
