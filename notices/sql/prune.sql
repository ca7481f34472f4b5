-- SPDX-License-Identifier: Apache-2.0
-- Drops notices that were published a while ago.
-- $1 bigint: for how many days they are kept
-- $2 int: how many at most
DELETE FROM notice
WHERE id IN (SELECT id FROM notice
             WHERE published_at < clock_timestamp() - $1::bigint * interval '1 day'
             ORDER BY published_at
             LIMIT $2::int);
