-- SPDX-License-Identifier: Apache-2.0
-- Accounts whose credits or spending may have passed a threshold: they, or what they use, changed
-- since the watch last looked, or the time has come at which it wanted to look again.
-- $1 text: those with ids after this
-- $2 int: how many at most
SELECT q.account, q.version, a.revision, s.catalog_revision, q.running > 0
FROM quota q
JOIN account a ON a.account = q.account
CROSS JOIN state s
LEFT JOIN watched w ON w.account = q.account
WHERE q.account > $1::text
  AND (w.account IS NULL OR w.version <> q.version OR w.account_revision <> a.revision
       OR w.catalog_revision <> s.catalog_revision OR w.due_at <= clock_timestamp())
ORDER BY q.account
LIMIT $2::int;
