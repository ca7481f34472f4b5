-- SPDX-License-Identifier: Apache-2.0
-- VMs as they stand, by their place in the lists.
-- $1 text[] accounts, $2 text[] VMs
SELECT asked.n, v.version, v.last_at, v.phase, v.started_at, v.nth, v.run, v.sizes, v.proof_at, v.pending
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (account, vm, n)
JOIN vm v USING (account, vm)
