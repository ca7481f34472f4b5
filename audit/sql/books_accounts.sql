-- SPDX-License-Identifier: Apache-2.0
-- Accounts as they are now (now is true), and as they were in the revisions that their invoices
-- name; by account.
-- $1 text[]: accounts
SELECT a.account, a.revision, true AS now, a.content::text AS content
FROM account a
WHERE a.account = ANY ($1::text[])
UNION ALL
SELECT h.account, h.revision, false, h.content::text
FROM account_history h
WHERE h.account = ANY ($1::text[])
  AND EXISTS (SELECT FROM invoice i
              WHERE i.account = h.account AND i.account_revision = h.revision)
ORDER BY account, now, revision;
