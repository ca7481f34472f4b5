-- SPDX-License-Identifier: Apache-2.0
-- Runs that are open for longer than their plan allows, and that nobody was told of. VMs that are
-- lost, or that the orchestrator vouches have stopped, do not run.
-- $1 text[]: accounts
-- $2 bigint[]: for each, how many minutes a run may last
-- $3 timestamptz: the horizon
-- $4 int: how many at most
SELECT v.account, v.vm, v.run, v.started_at, substring(v.sizes from '[^ ]+$'), l.minutes, t.step
FROM unnest($1::text[], $2::bigint[]) AS l (account, minutes)
JOIN vm v ON v.account = l.account AND v.listed AND v.phase = 1
         AND v.started_at < $3::timestamptz - l.minutes * interval '1 minute'
CROSS JOIN LATERAL (SELECT to_char(v.started_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z/"') || v.nth) AS t (step)
WHERE NOT EXISTS (SELECT FROM uncounted u WHERE u.account = v.account AND u.vm = v.vm)
  AND NOT EXISTS (SELECT FROM noticed n
                  WHERE n.account = v.account AND n.type = 'tally.session.limit'
                    AND n.subject = v.vm AND n.step = t.step)
ORDER BY v.account, v.vm
LIMIT $4::int;
