-- SPDX-License-Identifier: Apache-2.0
-- Accounts that have VMs running.
-- $1 text: those with ids after this
-- $2 int: how many at most
SELECT account
FROM quota
WHERE running > 0 AND account > $1::text
ORDER BY account
LIMIT $2::int;
