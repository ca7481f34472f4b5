-- SPDX-License-Identifier: Apache-2.0
-- How far each series of numbers has come, as it is noted.
SELECT series, last
FROM series
ORDER BY series;
