-- SPDX-License-Identifier: Apache-2.0
-- The catalogues by which the invoices of accounts were rated, in order of revision.
-- $1 text[]: accounts
SELECT c.revision, c.content::text AS content
FROM catalog c
WHERE c.revision IN (SELECT i.catalog_revision FROM invoice i WHERE i.account = ANY ($1::text[]))
ORDER BY c.revision;
