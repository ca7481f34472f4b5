-- SPDX-License-Identifier: Apache-2.0
-- Records of which nothing was made: neither an event with what they say, nor a dead letter; stored is NULL where there
-- is no event of that identity at all.
SELECT r.topic, r.partition, t.position, t.account, t.vm, t.source, t.id, t.at, t.type, e.at AS stored
FROM topic_record t JOIN topic_range r USING (origin)
LEFT JOIN event e ON e.account = t.account AND e.vm = t.vm AND e.source = t.source AND e.id = t.id
WHERE NOT coalesce((e.at, e.type) = (t.at, t.type)
                   AND (e.bootup, e.sequence, e.size, e.millicpu, e.memory_bytes, e.run, e.reservation, e.reason,
                        e.target_source, e.target_id)
                       IS NOT DISTINCT FROM
                       (t.bootup, t.sequence, t.size, t.millicpu, t.memory_bytes, t.run, t.reservation, t.reason,
                        t.target_source, t.target_id), false)
  AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.origin = t.origin AND d.position = t.position)
ORDER BY r.topic, r.partition, t.position
