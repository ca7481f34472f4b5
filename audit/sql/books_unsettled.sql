-- SPDX-License-Identifier: Apache-2.0
-- Accounts of which a closed period may have changed, with the first day, and whether a row is as of
-- the beginning of the books, as a void leaves it; by account.
-- $1 text[]: accounts
SELECT account, min(since)::text AS since, bool_or(since = (SELECT min(period) FROM closing)) AS whole
FROM unsettled
WHERE account = ANY ($1::text[])
GROUP BY account
ORDER BY account;
