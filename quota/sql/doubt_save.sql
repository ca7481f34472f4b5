-- SPDX-License-Identifier: Apache-2.0
-- Notes VMs that count without holding a slot that was granted (until NULL), or may come to.
-- $1 text[] accounts, $2 text[] VMs, $3 timestamptz[] until
INSERT INTO doubt AS d (account, vm, until) SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
ON CONFLICT (account, vm) DO UPDATE SET until = excluded.until
