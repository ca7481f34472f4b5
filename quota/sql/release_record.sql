-- SPDX-License-Identifier: Apache-2.0
-- Puts releases by hand on record.
-- $1 text[] accounts, $2 text[] VMs, $3 text[] reasons, $4 text[] reservations, $5 boolean[] whether a run was open
INSERT INTO released (account, vm, reason, reservation, ran)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[])
