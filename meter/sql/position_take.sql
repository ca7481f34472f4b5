-- SPDX-License-Identifier: Apache-2.0
-- Takes a partition up: raises its epoch under the row's lock, so that whoever had it can write no more. One that
-- nobody knew begins with the oldest record that the broker has, and with the least progress of its topic
-- (position_discover.sql tells why).
-- $1 topic, $2 partition, $3 offset of the oldest record
INSERT INTO position AS p (topic, partition, epoch, next_offset, progress)
VALUES ($1, $2::integer, 1, $3::bigint,
        (SELECT CASE WHEN count(*) = count(o.progress) THEN min(o.progress) END FROM position o WHERE o.topic = $1))
ON CONFLICT (topic, partition) DO UPDATE SET epoch = p.epoch + 1
RETURNING epoch, next_offset, last_offset, last_hash, last_at, progress
