-- Empties the stage, for a transaction that writes it several times.
DELETE FROM vm_stage
