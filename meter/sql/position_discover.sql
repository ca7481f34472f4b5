-- SPDX-License-Identifier: Apache-2.0
-- Notes partitions that exist. One that nobody knew held nothing when the others of its topic were looked at: whoever
-- noted a progress listed the partitions after it. So it begins with the least progress of its topic.
-- $1 text[] topics, $2 int[] partitions
INSERT INTO position (topic, partition, progress)
SELECT found.topic, found.partition,
       (SELECT CASE WHEN count(*) = count(p.progress) THEN min(p.progress) END FROM position p
        WHERE p.topic = found.topic)
FROM unnest($1::text[], $2::integer[]) AS found (topic, partition)
ON CONFLICT DO NOTHING
