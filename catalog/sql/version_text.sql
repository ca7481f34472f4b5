-- SPDX-License-Identifier: Apache-2.0
-- The version in force on a day, of the catalogue in force, for people; the first also covers all time before.
-- $1 day, date
SELECT jsonb_pretty(version)
FROM (SELECT content FROM catalog ORDER BY revision DESC LIMIT 1) AS newest,
    jsonb_array_elements(content -> 'versions') AS version,
    CAST(version ->> 'from' AS date) AS since
ORDER BY since <= $1::date DESC, abs(since - $1::date)
LIMIT 1
