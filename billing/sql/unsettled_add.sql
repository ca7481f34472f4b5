-- SPDX-License-Identifier: Apache-2.0
-- Notes that closed periods of accounts may have changed.
-- $1 text[]: accounts; NULL: all
-- $2 date: since when
INSERT INTO unsettled (account, since)
SELECT account, $2::date
FROM account
WHERE $1::text[] IS NULL OR account = ANY ($1::text[]);
