-- SPDX-License-Identifier: Apache-2.0
-- A page of dead letters, in order of arrival: to be tried again (the first columns, as dead_letter_due), or shown.
-- $1 bigint[] ids, $2 state, $3 reason, $4 account, $5 VM, $6 topic, $7 file, $8 arrived since, $9 and before; any of
-- them NULL: whatever it is
-- $10 after this id, $11 limit
SELECT d.id, d.origin, d.position, d.key, d.value, d.headers,
       d.reason, d.detail, d.account, d.vm, d.at, o.topic, o.partition, o.file, d.arrived_at, d.state
FROM dead_letter d JOIN origin o USING (origin)
WHERE ($1::bigint[] IS NULL OR d.id = ANY ($1::bigint[])) AND ($2::text IS NULL OR d.state = $2)
  AND ($3::text IS NULL OR d.reason = $3) AND ($4::text IS NULL OR d.account = $4)
  AND ($5::text IS NULL OR d.vm = $5) AND ($6::text IS NULL OR o.topic = $6) AND ($7::text IS NULL OR o.file = $7)
  AND ($8::timestamptz IS NULL OR d.arrived_at >= $8::timestamptz)
  AND ($9::timestamptz IS NULL OR d.arrived_at < $9::timestamptz)
  AND d.id > $10::bigint
ORDER BY d.id LIMIT $11::bigint
