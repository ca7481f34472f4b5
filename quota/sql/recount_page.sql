-- SPDX-License-Identifier: Apache-2.0
-- The next accounts, locked in order.
-- $1 the account behind which they begin, $2 how many at most
SELECT account FROM quota WHERE account > $1 ORDER BY account LIMIT $2::integer FOR UPDATE
