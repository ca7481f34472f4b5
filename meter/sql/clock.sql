-- SPDX-License-Identifier: Apache-2.0
-- The database's clock, and the least progress of all partitions.
SELECT clock_timestamp(), count(*), count(progress), min(progress) FROM position
