-- SPDX-License-Identifier: Apache-2.0
-- Notes that the database was restored: as of the later of the clock and the greatest progress.
INSERT INTO instance AS i (identity, restored_at)
SELECT s.system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' || d.oid,
       greatest(clock_timestamp(), (SELECT max(progress) FROM position))
FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()
ON CONFLICT (one) DO UPDATE SET restored_at = excluded.restored_at
