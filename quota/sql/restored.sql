-- SPDX-License-Identifier: Apache-2.0
-- Notes that the database was restored.
UPDATE instance SET restored_at = clock_timestamp()
