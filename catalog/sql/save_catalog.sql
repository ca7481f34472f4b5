-- SPDX-License-Identifier: Apache-2.0
-- Stores a catalogue unless it is the one in force already; gives the revision that is in force now.
-- The caller holds the row of state.
-- $1 content, jsonb
WITH raised AS (
    UPDATE state SET catalog_revision = catalog_revision + 1
    WHERE NOT EXISTS (
        SELECT FROM catalog WHERE catalog.revision = state.catalog_revision AND catalog.content = $1::jsonb)
    RETURNING catalog_revision
), added AS (
    INSERT INTO catalog (revision, content)
    SELECT catalog_revision, $1::jsonb FROM raised
)
SELECT coalesce((SELECT catalog_revision FROM raised), (SELECT catalog_revision FROM state))
