-- SPDX-License-Identifier: Apache-2.0
-- Forgets doubts.
-- $1 text[] accounts, $2 text[] VMs
DELETE FROM doubt d USING unnest($1::text[], $2::text[]) AS gone (account, vm)
WHERE d.account = gone.account AND d.vm = gone.vm
