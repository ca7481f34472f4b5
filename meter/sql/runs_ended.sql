-- SPDX-License-Identifier: Apache-2.0
-- A page of runs that have ended, newest first, behind a key: those that overlap [from, to), but for those of more
-- than a day that began more than a day before it (runs_long).
-- $1 account, $2 from or -infinity, $3 to or infinity, $4 the key's start, $5 its VM, $6 its nth, $7 how many at most
SELECT vm, started_at, nth, ended_at, ended_by, sizes, minutes, credit_minutes FROM run
WHERE account = $1 AND started_at >= $2::timestamptz - interval '24 hours'
  AND started_at < $3::timestamptz AND started_at <= $4::timestamptz
  AND (started_at, vm, nth) < ($4::timestamptz, $5, $6::integer)
  AND (ended_at > $2::timestamptz OR started_at >= $2::timestamptz)
ORDER BY started_at DESC, vm DESC, nth DESC
LIMIT $7::integer
