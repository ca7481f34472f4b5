-- SPDX-License-Identifier: Apache-2.0
-- A page of one VM's runs that have ended, newest first, behind a key. A run begins at the time of an event that can
-- open one; the VM's events lead to its runs, since those have no index by VM.
-- $1 account, $2 from or -infinity, $3 to or infinity, $4 the key's start, $5 VM, $6 the key's nth, $7 how many at most
WITH opened AS MATERIALIZED (
    SELECT DISTINCT at FROM event
    WHERE account = $1 AND vm = $5 AND type IN (0, 1, 2)
      AND at < $3::timestamptz AND at <= $4::timestamptz
)
SELECT r.vm, r.started_at, r.nth, r.ended_at, r.ended_by, r.sizes, r.minutes, r.credit_minutes
FROM (SELECT at FROM opened ORDER BY at DESC) AS o
CROSS JOIN LATERAL (
    SELECT * FROM run
    WHERE account = $1 AND started_at = o.at AND vm = $5
    ORDER BY nth DESC
    OFFSET 0
) AS r
WHERE (r.started_at, r.nth) < ($4::timestamptz, $6::integer)
  AND (r.ended_at > $2::timestamptz OR r.started_at >= $2::timestamptz)
ORDER BY o.at DESC, r.nth DESC
LIMIT $7::integer
