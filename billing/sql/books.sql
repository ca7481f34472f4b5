-- SPDX-License-Identifier: Apache-2.0
-- Every period whose closing has begun, in order; a few rows a year.
SELECT period, closed_at IS NOT NULL AS closed, after
FROM closing
ORDER BY period;
