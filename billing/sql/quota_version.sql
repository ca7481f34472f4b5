-- SPDX-License-Identifier: Apache-2.0
-- A number that is another whenever the account's usage (otherwise than by time), the account or the catalogue has
-- changed: each of the three only grows, so their sum does.
-- $1 text: account
SELECT q.version + a.revision + s.catalog_revision
FROM quota q JOIN account a USING (account) CROSS JOIN state s
WHERE q.account = $1::text
