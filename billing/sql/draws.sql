-- SPDX-License-Identifier: Apache-2.0
-- What standing invoices have drawn from grants, by account and grant.
-- $1 text[]: accounts
SELECT d.account, d.grant_id, d.unit, sum(d.amount)::bigint AS drawn
FROM grant_draw d
WHERE d.account = ANY ($1::text[])
  AND NOT EXISTS (SELECT FROM invoice c WHERE c.account = d.account AND c.credits_number = d.number)
GROUP BY d.account, d.grant_id, d.unit
ORDER BY d.account, d.grant_id;
