-- SPDX-License-Identifier: Apache-2.0
-- The revisions of accounts, in order.
-- $1 text[] accounts
SELECT account, revision FROM account WHERE account = ANY ($1::text[]) ORDER BY account
