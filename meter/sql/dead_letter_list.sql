-- SPDX-License-Identifier: Apache-2.0
-- Dead letters for people and programs.
-- $1 state or NULL, $2 reason or NULL, $3 after this id, $4 limit
SELECT d.id, d.reason, d.detail, d.account, d.vm, d.at, o.topic, o.partition, o.file, d.position,
       d.key, d.value, d.headers, d.arrived_at, d.state
FROM dead_letter d JOIN origin o USING (origin)
WHERE ($1::text IS NULL OR d.state = $1) AND ($2::text IS NULL OR d.reason = $2) AND d.id > $3::bigint
ORDER BY d.id LIMIT $4::integer
