-- SPDX-License-Identifier: Apache-2.0
-- Runs that ended and overlap [from, to). Those of up to a day began at most a day before; longer ones have an index.
-- With --as-of, only of VMs without events after it.
-- $1 account, $2 from, $3 to, $4 as-of or NULL
WITH found AS (
    SELECT vm, started_at, ended_at, ended_by, nth, run, sizes FROM run
    WHERE account = $1 AND started_at >= $2::timestamptz - interval '24 hours' AND started_at < $3::timestamptz
      AND ended_at > $2::timestamptz AND ended_at - started_at <= interval '24 hours'
    UNION ALL
    SELECT vm, started_at, ended_at, ended_by, nth, run, sizes FROM run
    WHERE account = $1 AND ended_at > $2::timestamptz AND started_at < $3::timestamptz
      AND ended_at - started_at > interval '24 hours'
)
SELECT vm, started_at, ended_at, ended_by, nth, run, sizes FROM found f
WHERE $4::timestamptz IS NULL
   OR NOT EXISTS (SELECT FROM vm v WHERE v.account = $1 AND v.vm = f.vm AND v.last_at > $4::timestamptz)
