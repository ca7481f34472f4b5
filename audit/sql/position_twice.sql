-- SPDX-License-Identifier: Apache-2.0
-- Offsets of which more than one event was metered.
SELECT o.topic, o.partition, e.position, e.events
FROM (SELECT origin, position, count(*) AS events FROM event GROUP BY origin, position HAVING count(*) > 1) e
JOIN origin o USING (origin)
WHERE o.topic IS NOT NULL
ORDER BY o.topic, o.partition, e.position
