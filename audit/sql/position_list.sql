-- SPDX-License-Identifier: Apache-2.0
-- Every origin and every position, and how far what was metered of it reaches. A topic without any position is retired.
SELECT topic, partition, o.file, origin, p.next_offset, p.last_offset, coalesce(e.events, 0) AS events,
       e.last AS last_event, d.last AS last_letter,
       EXISTS (SELECT FROM position other WHERE other.topic = o.topic) AS read
FROM origin o FULL JOIN position p USING (topic, partition)
FULL JOIN (SELECT origin, count(*) AS events, max(position) AS last FROM event GROUP BY origin) e USING (origin)
FULL JOIN (SELECT origin, max(position) AS last FROM dead_letter GROUP BY origin) d USING (origin)
ORDER BY topic, partition, origin
