-- SPDX-License-Identifier: Apache-2.0
-- How many VMs run, and how many microseconds the slowest partition's progress is behind the clock;
-- NULL: nothing ever came from Kafka, or a partition has no progress yet.
SELECT (SELECT coalesce(sum(running), 0)::bigint FROM quota),
       (SELECT CASE WHEN bool_and(progress IS NOT NULL)
                    THEN (extract(epoch FROM clock_timestamp() - min(progress)) * 1000000)::bigint END
        FROM position);
