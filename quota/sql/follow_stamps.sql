-- SPDX-License-Identifier: Apache-2.0
-- Which version of accounts' counts there is: whoever reserves or releases makes another.
-- $1 text[] accounts
SELECT account, xmin::text::bigint FROM quota WHERE account = ANY ($1::text[])
