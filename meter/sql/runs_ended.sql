-- SPDX-License-Identifier: Apache-2.0
-- A page of runs that have ended, newest first, behind a key: those that end after `from` or begin at it, but for
-- those of more than a day that began more than a day before it (runs_long). The key is the only bound from above: of
-- several, an index scan might begin at another one.
-- $1 account, $2 from or -infinity, $3 the key's start, $4 its VM, $5 its nth, $6 how many at most
SELECT vm, started_at, nth, ended_at, ended_by, sizes, minutes, credit_minutes FROM run
WHERE account = $1 AND started_at >= $2::timestamptz - interval '24 hours'
  AND (started_at, vm, nth) < ($3::timestamptz, $4, $5::integer)
  AND (ended_at > $2::timestamptz OR started_at >= $2::timestamptz)
ORDER BY started_at DESC, vm DESC, nth DESC
LIMIT $6::integer
