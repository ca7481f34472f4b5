-- SPDX-License-Identifier: Apache-2.0
-- All VMs as they stand, with their slots, in order; also those that have only a slot.
SELECT account, vm, v.version, v.last_at, v.phase, v.started_at, v.nth, v.run, v.sizes, v.proof_at, v.pending, v.listed,
       r.lapses_at, u.why, u.until
FROM vm v FULL JOIN reservation r USING (account, vm) FULL JOIN uncounted u USING (account, vm)
ORDER BY account, vm
