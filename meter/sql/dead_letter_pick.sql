-- SPDX-License-Identifier: Apache-2.0
-- Open dead letters to retry by hand, in order of arrival.
-- $1 bigint[] ids, or NULL: all; $2 after this id; $3 limit
SELECT d.id, d.origin, d.position, d.key, d.value, d.headers FROM dead_letter d
WHERE d.state = 'open' AND d.id > $2::bigint AND ($1::bigint[] IS NULL OR d.id = ANY ($1::bigint[]))
ORDER BY d.id LIMIT $3::integer
