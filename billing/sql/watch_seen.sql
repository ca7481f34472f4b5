-- SPDX-License-Identifier: Apache-2.0
-- Notes what the watch saw of accounts, and when it must look again.
-- $1 text[]: accounts
-- $2 bigint[]: quota.version
-- $3 bigint[]: the account's revision
-- $4 bigint[]: the catalogue's revision
-- $5 timestamptz[]: due; infinity: only when something changes
INSERT INTO watched (account, version, account_revision, catalog_revision, due_at)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[])
ON CONFLICT (account) DO UPDATE
SET version = excluded.version, account_revision = excluded.account_revision,
    catalog_revision = excluded.catalog_revision, due_at = excluded.due_at;
