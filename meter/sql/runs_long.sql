-- SPDX-License-Identifier: Apache-2.0
-- A page of runs of more than a day that began more than a day before `from` and ended after it; as runs_ended.
-- Those of more than a day have an index (run_long), which the planner must not be talked out of by the order.
-- $1 account, $2 from, $3 the key's start, $4 its VM, $5 its nth, $6 how many at most
WITH long AS MATERIALIZED (
    SELECT vm, started_at, nth, ended_at, ended_by, sizes, minutes, credit_minutes FROM run
    WHERE account = $1 AND ended_at > $2::timestamptz AND ended_at - started_at > interval '24 hours'
)
SELECT vm, started_at, nth, ended_at, ended_by, sizes, minutes, credit_minutes FROM long
WHERE started_at < $2::timestamptz - interval '24 hours'
  AND (started_at, vm, nth) < ($3::timestamptz, $4, $5::integer)
ORDER BY started_at DESC, vm DESC, nth DESC
LIMIT $6::integer
