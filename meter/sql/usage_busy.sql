-- SPDX-License-Identifier: Apache-2.0
-- On which days an account's runs that have ended were used, and for how many minutes.
-- $1 account, $2 first day, $3 day after the last
SELECT day, sum(minutes)::bigint FROM usage_day
WHERE account = $1 AND day >= $2::date AND day < $3::date AND minutes <> 0
GROUP BY day ORDER BY day
