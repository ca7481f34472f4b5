-- SPDX-License-Identifier: Apache-2.0
-- Lets VMs' runs count again.
-- $1 text[] accounts, $2 text[] VMs
DELETE FROM uncounted u USING unnest($1::text[], $2::text[]) AS gone (account, vm)
WHERE u.account = gone.account AND u.vm = gone.vm
