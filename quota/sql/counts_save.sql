-- SPDX-License-Identifier: Apache-2.0
-- Writes accounts' counts, whose rows the transaction has locked.
-- $1 text[] accounts, $2 int[] running, $3 int[] reserved, $4 bigint[] version, $5 timestamptz[] look_at,
-- $6 boolean[] exceeded, $7 timestamptz[] lapse_at
UPDATE quota q
SET running = c.running, reserved = c.reserved, version = c.version, look_at = c.look_at, exceeded = c.exceeded,
    lapse_at = c.lapse_at
FROM unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[], $5::timestamptz[], $6::boolean[],
            $7::timestamptz[]) AS c (account, running, reserved, version, look_at, exceeded, lapse_at)
WHERE q.account = c.account
