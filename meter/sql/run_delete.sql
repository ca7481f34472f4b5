-- SPDX-License-Identifier: Apache-2.0
-- Removes runs that are not so any more.
-- $1 text[] accounts, $2 timestamptz[] starts, $3 text[] VMs, $4 int[] nth
DELETE FROM run r
USING unnest($1::text[], $2::timestamptz[], $3::text[], $4::integer[]) AS gone (account, started_at, vm, nth)
WHERE r.account = gone.account AND r.started_at = gone.started_at AND r.vm = gone.vm AND r.nth = gone.nth
