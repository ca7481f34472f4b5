-- SPDX-License-Identifier: Apache-2.0
-- Every period whose closing has begun, in order; a few rows a year.
SELECT period, closed, after, horizon
FROM closing
ORDER BY period;
