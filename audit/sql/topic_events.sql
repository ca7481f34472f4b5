-- SPDX-License-Identifier: Apache-2.0
-- Events that say of themselves that they stand where Kafka has no such record.
SELECT r.topic, r.partition, e.position, e.account, e.vm, e.source, e.id, e.at, e.type
FROM event e JOIN topic_range r ON r.origin = e.origin AND e.position >= r.first
LEFT JOIN topic_record t ON t.origin = e.origin AND t.position = e.position AND t.account = e.account AND t.vm = e.vm
                            AND t.source = e.source AND t.id = e.id
WHERE t.position IS NULL
ORDER BY r.topic, r.partition, e.position
