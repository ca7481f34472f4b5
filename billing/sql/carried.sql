-- SPDX-License-Identifier: Apache-2.0
-- What standing invoices carried forward, each a grant in usd of its own.
-- $1 text[]: accounts
SELECT g.account, g.number, g.from_day, g.cents
FROM carried_grant g
WHERE g.account = ANY ($1::text[])
  AND NOT EXISTS (SELECT FROM invoice c WHERE c.account = g.account AND c.credits_number = g.number)
ORDER BY g.account, g.number;
