-- SPDX-License-Identifier: Apache-2.0
-- Accounts whose closed periods may have changed: since when, and the rows that say so.
-- $1 text[]: accounts
SELECT account, min(since), string_agg(id::text, ',')
FROM unsettled
WHERE account = ANY ($1::text[])
GROUP BY account
ORDER BY account;
