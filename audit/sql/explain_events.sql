-- SPDX-License-Identifier: Apache-2.0
-- The events of some VMs up to a time, by VM in order of time, with where they stand and what took them back. Open
-- conflicts are among them, as events of unknown type (7). The first columns are those of
-- meter/sql/history_events.sql.
-- $1 text: account
-- $2 text[]: VMs
-- $3 timestamptz: the time
WITH told AS (
    SELECT account, vm, source, id, at, type, bootup, sequence, size, millicpu, memory_bytes, run, reservation, reason,
           target_source, target_id, origin, position
    FROM event
    WHERE account = $1::text AND vm = ANY ($2::text[]) AND type <> 5 AND at <= $3::timestamptz
    UNION ALL
    SELECT account, vm, NULL, NULL, at, 7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, origin, position
    FROM dead_letter
    WHERE state = 'open' AND reason = 'conflict' AND account = $1::text AND vm = ANY ($2::text[])
      AND at <= $3::timestamptz
), retraction AS (
    SELECT DISTINCT ON (vm, target_source, target_id) vm, target_source, target_id, source, id, at, origin, position
    FROM event
    WHERE account = $1::text AND vm = ANY ($2::text[]) AND type = 5
    ORDER BY vm, target_source, target_id, at, source, id
)
SELECT t.account, t.vm, t.source, t.id, t.at, t.type, t.bootup, t.sequence, t.size, t.millicpu, t.memory_bytes, t.run,
       t.reservation, t.reason, t.target_source, t.target_id, t.origin, t.position,
       o.topic, o.partition, o.file,
       r.source, r.id, r.at, r.position, p.topic, p.partition, p.file
FROM told t
JOIN origin o USING (origin)
LEFT JOIN retraction r ON (r.vm, r.target_source, r.target_id) = (t.vm, t.source, t.id)
LEFT JOIN origin p ON p.origin = r.origin
ORDER BY t.vm, t.at, t.source, t.id
