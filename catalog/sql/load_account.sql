-- SPDX-License-Identifier: Apache-2.0
-- One account: revision, content.
-- $1 id, text
SELECT revision, content::text
FROM account
WHERE account = $1::text
