-- SPDX-License-Identifier: Apache-2.0
-- Where partitions stand, by their place in the lists.
-- $1 text[] topics, $2 int[] partitions
SELECT asked.n, p.epoch, p.next_offset
FROM unnest($1::text[], $2::integer[]) WITH ORDINALITY AS asked (topic, partition, n)
JOIN position p USING (topic, partition)
