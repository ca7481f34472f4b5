-- SPDX-License-Identifier: Apache-2.0
-- Notes partitions that exist. One that nobody knew held nothing when the others of its topic were looked at: whoever
-- noted a progress listed the partitions after it. So it begins with the least progress of its topic.
-- $1 text[] topics, $2 int[] partitions, $3 bigint[] offsets of their oldest records
INSERT INTO position (topic, partition, next_offset, progress)
SELECT found.topic, found.partition, found.oldest,
       (SELECT CASE WHEN count(*) = count(p.progress) THEN min(p.progress) END FROM position p
        WHERE p.topic = found.topic)
FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS found (topic, partition, oldest)
ON CONFLICT DO NOTHING
