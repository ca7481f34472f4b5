-- SPDX-License-Identifier: Apache-2.0
-- A page of one VM's runs that have ended, newest first, behind a key: those that end after `from` or begin at it. A
-- run begins at the time of an event that can open one; the VM's events lead to its runs, which have no index by VM.
-- $1 account, $2 from or -infinity, $3 the key's start, $4 VM, $5 the key's nth, $6 how many at most
WITH opened AS MATERIALIZED (
    SELECT DISTINCT at FROM event
    WHERE account = $1 AND vm = $4 AND type IN (0, 1, 2) AND at <= $3::timestamptz
)
SELECT r.vm, r.started_at, r.nth, r.ended_at, r.ended_by, r.sizes, r.minutes, r.credit_minutes
FROM (SELECT at FROM opened ORDER BY at DESC) AS o
CROSS JOIN LATERAL (
    SELECT * FROM run
    WHERE account = $1 AND started_at = o.at AND vm = $4
    ORDER BY nth DESC
    OFFSET 0
) AS r
WHERE (r.started_at, r.nth) < ($3::timestamptz, $5::integer)
  AND (r.ended_at > $2::timestamptz OR r.started_at >= $2::timestamptz)
ORDER BY o.at DESC, r.nth DESC
LIMIT $6::integer
