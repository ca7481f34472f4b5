-- SPDX-License-Identifier: Apache-2.0
-- Creates and replaces accounts; those whose content is the same stay as they are, revision and all. Each
-- new content is kept with its moment. Gives a row for each that changed.
-- $1 ids, text[]; $2 contents in the same order, jsonb[]
WITH saved AS (
    INSERT INTO account AS stored (account, content)
    SELECT given.account, given.content
    FROM unnest($1::text[], $2::jsonb[]) AS given (account, content)
    ORDER BY given.account COLLATE "C"
    ON CONFLICT (account) DO UPDATE
    SET revision = stored.revision + 1, applied_at = clock_timestamp(), content = excluded.content
    WHERE stored.content <> excluded.content
    RETURNING account, revision, applied_at, content
)
INSERT INTO account_history (account, revision, applied_at, content)
SELECT account, revision, applied_at, content FROM saved
