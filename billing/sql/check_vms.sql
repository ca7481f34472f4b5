-- SPDX-License-Identifier: Apache-2.0
-- VMs whose runs in a period are lost (under watch, and no proof of life in time) or unproven
-- (open, and never a heartbeat): how many of each kind, and the first few.
-- $1 date: the period's first day
-- $2 date: the first day after it
-- $3 timestamptz: the horizon
-- $4 bigint: the heartbeat timeout in microseconds
-- $5 bigint: how many to name of each kind
WITH suspect AS (
    SELECT account, vm, started_at,
           CASE WHEN proof_at IS NULL THEN 'unproven' ELSE 'lost' END AS kind
    FROM vm
    WHERE phase = 1 AND started_at < least($2::date::timestamptz, $3::timestamptz)
      AND (proof_at IS NULL
           OR (proof_at >= $1::date
               AND proof_at < $3::timestamptz - $4::bigint * interval '1 microsecond'))
    UNION ALL
    SELECT v.account, v.vm, v.started_at, 'lost'
    FROM vm v
    JOIN run r USING (account, started_at, vm, nth)
    WHERE v.phase = 2 AND v.started_at < $2::date AND r.ended_at >= $1::date
), ranked AS (
    SELECT kind, account, vm, started_at,
           count(*) OVER (PARTITION BY kind) AS of_kind,
           row_number() OVER (PARTITION BY kind ORDER BY account, vm) AS rank
    FROM suspect
)
SELECT kind, of_kind, account, vm, started_at
FROM ranked
WHERE rank <= $5::bigint
ORDER BY kind, rank;
