-- SPDX-License-Identifier: Apache-2.0
-- Those of the accounts named that exist, in order of id: revision, content.
-- $1 ids, text[]
SELECT revision, content::text
FROM account
WHERE account = ANY ($1::text[])
ORDER BY account
