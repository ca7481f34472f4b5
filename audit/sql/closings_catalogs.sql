-- SPDX-License-Identifier: Apache-2.0
-- Every catalogue ever applied, and whether its moment can be: not before the one before, and not in
-- time to come.
SELECT revision, content::text AS content,
       applied_at >= coalesce(lag(applied_at) OVER (ORDER BY revision), applied_at)
       AND applied_at <= clock_timestamp() AS in_time
FROM catalog
ORDER BY revision;
