-- SPDX-License-Identifier: Apache-2.0
-- Takes a partition up: raises its epoch under the row's lock, so that whoever had it can write no more. One that
-- nobody knew begins with the oldest record that the broker has.
-- $1 topic, $2 partition, $3 offset of the oldest record
INSERT INTO position AS p (topic, partition, epoch, next_offset) VALUES ($1, $2::integer, 1, $3::bigint)
ON CONFLICT (topic, partition) DO UPDATE SET epoch = p.epoch + 1
RETURNING epoch, next_offset, last_offset, last_hash, last_at, progress
