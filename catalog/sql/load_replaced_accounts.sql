-- SPDX-License-Identifier: Apache-2.0
-- What the accounts named were before their last change, in order of id: revision, content; of new
-- ones nothing.
-- $1 ids, text[]
SELECT h.revision, h.content::text
FROM account a
JOIN account_history h ON h.account = a.account AND h.revision = a.revision - 1
WHERE a.account = ANY ($1::text[])
ORDER BY a.account
