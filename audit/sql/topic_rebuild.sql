-- SPDX-License-Identifier: Apache-2.0
-- Events of those VMs of which all that was ever metered stands in Kafka, from its records alone, in the columns and the
-- order of recount_events.sql. A record that is only a dead letter is no event.
SELECT account, vm, source, id, at, type, bootup, sequence, size, millicpu, memory_bytes, run, target_source, target_id
FROM (SELECT DISTINCT ON (t.account, t.vm, t.source, t.id) t.*
      FROM topic_record t
      WHERE t.id IS NOT NULL
        AND NOT EXISTS (SELECT FROM dead_letter d
                        WHERE d.origin = t.origin AND d.position = t.position AND d.state <> 'metered')
        AND NOT EXISTS (SELECT FROM event e LEFT JOIN topic_range r ON r.origin = e.origin AND e.position >= r.first
                        WHERE e.account = t.account AND e.vm = t.vm AND r.origin IS NULL)
      ORDER BY t.account, t.vm, t.source, t.id) whole
ORDER BY account, vm, type <> 5, at
