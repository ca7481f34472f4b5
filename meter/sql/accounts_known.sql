-- SPDX-License-Identifier: Apache-2.0
-- Which of these accounts exist.
-- $1 text[] ids
SELECT account FROM account WHERE account = ANY ($1::text[])
