-- SPDX-License-Identifier: Apache-2.0
-- Writes what vm_stage holds over the VMs' rows. A row that somebody else has written since it was read is left
-- alone: fewer rows than staged are affected, and the caller starts over.
UPDATE vm v
SET version = s.version, last_at = s.last_at, phase = s.phase, started_at = s.started_at, nth = s.nth, run = s.run,
    sizes = s.sizes, proof_at = s.proof_at, pending = s.pending, listed = v.listed OR s.listed
FROM vm_stage s
WHERE v.account = s.account AND v.vm = s.vm AND v.version = s.version - 1
