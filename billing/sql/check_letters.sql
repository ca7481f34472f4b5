-- SPDX-License-Identifier: Apache-2.0
-- Open dead letters dated in a period, by reason; those without a time by their arrival.
-- $1 date: the period's first day
-- $2 date: the first day after it
SELECT reason, count(*) AS letters
FROM dead_letter
WHERE state = 'open'
  AND coalesce(at, arrived_at) >= $1::date AND coalesce(at, arrived_at) < $2::date
GROUP BY reason
ORDER BY reason;
