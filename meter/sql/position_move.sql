-- SPDX-License-Identifier: Apache-2.0
-- Moves positions from where we left them to behind what was just metered. A row that does not change belongs to
-- somebody else by now.
-- $1 text[] topics, $2 int[] partitions, $3 bigint[] our epochs, $4 bigint[] expected next offsets,
-- $5 bigint[] new next offsets, $6 bigint[] last offsets, $7 bigint[] last hashes, $8 timestamptz[] last times,
-- $9 timestamptz[] progress or NULL
UPDATE position p
SET next_offset = m.next_offset, last_offset = coalesce(m.last_offset, p.last_offset),
    last_hash = coalesce(m.last_hash, p.last_hash), last_at = coalesce(m.last_at, p.last_at),
    progress = greatest(p.progress, m.progress)
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::timestamptz[], $9::timestamptz[])
    AS m (topic, partition, epoch, expected, next_offset, last_offset, last_hash, last_at, progress)
WHERE p.topic = m.topic AND p.partition = m.partition AND p.epoch = m.epoch AND p.next_offset = m.expected
