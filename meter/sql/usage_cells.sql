-- SPDX-License-Identifier: Apache-2.0
-- Minutes of runs that have ended, by account, day and size.
-- $1 text[] accounts, $2 first day, $3 day after the last
SELECT account, day, size, minutes FROM usage_day
WHERE account = ANY ($1::text[]) AND day >= $2::date AND day < $3::date AND minutes <> 0
