-- SPDX-License-Identifier: Apache-2.0
-- Adds to the day totals; differences may be negative.
-- $1 text[] accounts, $2 date[] days, $3 text[] sizes, $4 bigint[] minutes, in order of the first three
INSERT INTO usage_day AS u (account, day, size, minutes)
SELECT account, day, size, minutes
FROM unnest($1::text[], $2::date[], $3::text[], $4::bigint[]) AS more (account, day, size, minutes)
ON CONFLICT (account, day, size) DO UPDATE SET minutes = u.minutes + excluded.minutes
