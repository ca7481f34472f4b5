-- SPDX-License-Identifier: Apache-2.0
-- Closes a period again with nothing to bill.
-- $1 text: account
-- $2 date: the period's first day
INSERT INTO closed_again (account, number)
SELECT account, number FROM invoice
WHERE account = $1::text AND period = $2::date AND kind = 0
ORDER BY place DESC
LIMIT 1;
