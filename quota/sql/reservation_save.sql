-- SPDX-License-Identifier: Apache-2.0
-- Makes reservations, in the place of those that there are; all at one time.
-- $1 text[] accounts, $2 text[] VMs, $3 text[] ids, $4 text[] sizes, $5 reserved_at, $6 expires_at, $7 starts_from,
-- $8 lapses_at
INSERT INTO reservation AS r (account, vm, id, size, reserved_at, expires_at, starts_from, lapses_at)
SELECT account, vm, id, size, $5::timestamptz, $6::timestamptz, $7::timestamptz, $8::timestamptz
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS made (account, vm, id, size)
ON CONFLICT (account, vm) DO UPDATE
SET id = excluded.id, size = excluded.size, reserved_at = excluded.reserved_at, expires_at = excluded.expires_at,
    starts_from = excluded.starts_from, lapses_at = excluded.lapses_at
