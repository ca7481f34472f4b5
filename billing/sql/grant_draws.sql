-- SPDX-License-Identifier: Apache-2.0
-- What each standing invoice has drawn from each of an account's grants, by grant, oldest first.
-- $1 text: account
SELECT d.grant_id, d.unit, d.number, i.period, d.amount
FROM grant_draw d
JOIN invoice i USING (account, number)
WHERE d.account = $1::text
  AND NOT EXISTS (SELECT FROM invoice c WHERE c.account = d.account AND c.credits_number = d.number)
ORDER BY d.grant_id, d.unit, i.place
