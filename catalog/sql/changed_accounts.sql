-- SPDX-License-Identifier: Apache-2.0
-- Of the accounts given, those that are new or have other content than is stored: their places, from 1.
-- $1 ids, text[]; $2 contents in the same order, jsonb[]
SELECT given.place
FROM unnest($1::text[], $2::jsonb[]) WITH ORDINALITY AS given (account, content, place)
LEFT JOIN account USING (account)
WHERE account.content IS DISTINCT FROM given.content
ORDER BY given.place
