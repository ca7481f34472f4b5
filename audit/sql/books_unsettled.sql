-- SPDX-License-Identifier: Apache-2.0
-- Accounts of which a closed period may have changed, with the first day; by account.
-- $1 text[]: accounts
SELECT account, min(since)::text AS since
FROM unsettled
WHERE account = ANY ($1::text[])
GROUP BY account
ORDER BY account;
