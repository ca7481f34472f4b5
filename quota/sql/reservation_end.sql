-- SPDX-License-Identifier: Apache-2.0
-- Ends reservations.
-- $1 text[] accounts, $2 text[] VMs
DELETE FROM reservation r USING unnest($1::text[], $2::text[]) AS gone (account, vm)
WHERE r.account = gone.account AND r.vm = gone.vm
