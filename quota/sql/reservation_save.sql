-- SPDX-License-Identifier: Apache-2.0
-- Makes reservations, in the place of those that there are.
-- $1 text[] accounts, $2 text[] VMs, $3 text[] ids, $4 text[] sizes, $5 timestamptz[] reserved_at,
-- $6 timestamptz[] expires_at, $7 timestamptz[] starts_from, $8 timestamptz[] lapses_at
INSERT INTO reservation AS r (account, vm, id, size, reserved_at, expires_at, starts_from, lapses_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                     $7::timestamptz[], $8::timestamptz[])
ON CONFLICT (account, vm) DO UPDATE
SET id = excluded.id, size = excluded.size, reserved_at = excluded.reserved_at, expires_at = excluded.expires_at,
    starts_from = excluded.starts_from, lapses_at = excluded.lapses_at
