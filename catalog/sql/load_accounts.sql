-- SPDX-License-Identifier: Apache-2.0
-- A page of accounts in order of id: revision, content.
-- $1 the id after which it begins, text ('' for the first); $2 how many at most, integer
SELECT revision, content::text
FROM account
WHERE account > $1::text
ORDER BY account
LIMIT $2::integer
