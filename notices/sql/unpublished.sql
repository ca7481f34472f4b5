-- SPDX-License-Identifier: Apache-2.0
-- The next notices to publish, in order. What decides is that a notice is not published, not that
-- its id is above the last one's: ids become visible out of order where transactions overlap.
-- $1 int: how many at most
SELECT id, event_id, account, type, subject, at, data
FROM notice
WHERE published_at IS NULL
ORDER BY id
LIMIT $1::int;
