-- SPDX-License-Identifier: Apache-2.0
-- Which of these ids are not those of an open dead letter.
-- $1 bigint[] ids
SELECT asked.id FROM unnest($1::bigint[]) AS asked (id)
WHERE NOT EXISTS (SELECT FROM dead_letter d WHERE d.id = asked.id AND d.state = 'open') ORDER BY 1
