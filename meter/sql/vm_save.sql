-- Writes what vm_stage holds. A row that somebody else has written since it was read is left alone: fewer
-- rows than staged are affected, and the caller starts over.
INSERT INTO vm AS v (account, vm, version, last_at, phase, started_at, nth, run, sizes, proof_at, pending, listed)
SELECT account, vm, version, last_at, phase, started_at, nth, run, sizes, proof_at, pending, phase <> 0 FROM vm_stage
ON CONFLICT (account, vm) DO UPDATE
SET version = excluded.version, last_at = excluded.last_at, phase = excluded.phase, started_at = excluded.started_at,
    nth = excluded.nth, run = excluded.run, sizes = excluded.sizes, proof_at = excluded.proof_at,
    pending = excluded.pending, listed = v.listed OR excluded.listed
WHERE v.version = excluded.version - 1
