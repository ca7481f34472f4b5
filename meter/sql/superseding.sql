-- SPDX-License-Identifier: Apache-2.0
-- Of some moments of VMs, those at which a start that was not CLEAN stands, by their place in the lists.
-- $1 text[] accounts, $2 text[] VMs, $3 timestamptz[] moments
SELECT asked.n
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS asked (account, vm, at, n)
WHERE EXISTS (SELECT FROM event e WHERE e.account = asked.account AND e.vm = asked.vm AND e.at = asked.at
                AND e.type = 0 AND e.bootup <> 0)
