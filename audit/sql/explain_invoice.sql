-- SPDX-License-Identifier: Apache-2.0
-- What an invoice or a credit note was rated from, and by which catalogue and account.
-- $1 text: number
SELECT i.inputs, coalesce(credited.place, i.place) AS place, i.catalog_revision,
       k.applied_at AS catalog_applied_at, i.account_revision, h.applied_at AS account_applied_at
FROM invoice i
LEFT JOIN invoice credited ON credited.account = i.account AND credited.number = i.credits_number
LEFT JOIN catalog k ON k.revision = i.catalog_revision
LEFT JOIN account_history h ON h.account = i.account AND h.revision = i.account_revision
WHERE i.number = $1::text
