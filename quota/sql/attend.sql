-- SPDX-License-Identifier: Apache-2.0
-- Which database this is, noted at first; where another was noted, it is a restored one. Yields whether it is that.
INSERT INTO instance AS i (identity)
SELECT s.system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' || d.oid
FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()
ON CONFLICT (one) DO UPDATE SET identity = excluded.identity, restored_at = greatest(clock_timestamp(), (SELECT max(progress) FROM position))
WHERE i.identity <> excluded.identity
RETURNING restored_at IS NOT NULL
