-- SPDX-License-Identifier: Apache-2.0
-- What is to be published next, in order.
-- $1 how many at most
SELECT id, event_id, account, type, subject, at, data FROM notice
WHERE published_at IS NULL ORDER BY id LIMIT $1::integer
