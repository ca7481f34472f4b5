-- SPDX-License-Identifier: Apache-2.0
-- How far the topics' partitions have been metered, the slowest first.
-- $1 bigint rows at most
SELECT topic, partition, progress,
       floor(extract(epoch FROM clock_timestamp() - progress))::bigint AS behind_seconds
FROM position
ORDER BY progress NULLS FIRST, topic, partition
LIMIT $1::bigint
