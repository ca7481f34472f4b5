-- SPDX-License-Identifier: Apache-2.0
-- Ids of the next accounts.
-- $1 the id after which they begin, text ('' for the first); $2 how many at most, integer
SELECT account FROM account WHERE account > $1::text ORDER BY account LIMIT $2::integer
