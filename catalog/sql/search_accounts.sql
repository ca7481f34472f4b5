-- SPDX-License-Identifier: Apache-2.0
-- A page of accounts whose id or name holds a text in any case, in order of id: revision, content.
-- $1 the id after which it begins, text ('' for the first); $2 how many at most, integer
-- $3 the text ('' for all)
SELECT revision, content::text
FROM account
WHERE account > $1::text
  AND ($3::text = '' OR strpos(lower(account), lower($3::text)) > 0
       OR strpos(lower(content ->> 'name'), lower($3::text)) > 0)
ORDER BY account
LIMIT $2::integer
