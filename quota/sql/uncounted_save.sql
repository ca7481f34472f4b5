-- SPDX-License-Identifier: Apache-2.0
-- Notes VMs whose open run holds no slot.
-- $1 text[] accounts, $2 text[] VMs, $3 smallint[] why, $4 timestamptz[] since, $5 timestamptz[] starts_from,
-- $6 timestamptz[] until
INSERT INTO uncounted AS u (account, vm, why, since, starts_from, until)
SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
ON CONFLICT (account, vm) DO UPDATE
SET why = excluded.why, since = excluded.since, starts_from = excluded.starts_from, until = excluded.until
