-- SPDX-License-Identifier: Apache-2.0
-- Every content that an account ever had, and whether its moment can be: not before the one before,
-- and not in time to come. By a minute it may be: clocks are set back by as much, and what was noted
-- stays.
SELECT account, revision, content::text AS content,
       applied_at >= coalesce(lag(applied_at) OVER (PARTITION BY account ORDER BY revision) - interval '1 minute',
                              applied_at)
       AND applied_at <= clock_timestamp() + interval '1 minute' AS in_time
FROM account_history
ORDER BY account, revision;
