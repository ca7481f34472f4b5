-- SPDX-License-Identifier: Apache-2.0
-- Whether the newest catalogue and the one before may say something else of a day before a date. The
-- earliest version of each also covers all time before it.
-- $1 date
WITH version AS (
    SELECT c.revision, v.version, v.version ->> 'from' AS begins,
           min(v.version ->> 'from') OVER (PARTITION BY c.revision) AS earliest
    FROM (SELECT revision, content FROM catalog ORDER BY revision DESC LIMIT 2) AS c,
         jsonb_array_elements(c.content -> 'versions') AS v (version)
), reaching AS (
    SELECT revision, version FROM version
    WHERE begins = earliest OR begins < to_char($1::date, 'YYYY-MM-DD')
)
SELECT EXISTS (
    SELECT FROM reaching v
    WHERE NOT EXISTS (SELECT FROM reaching other
                      WHERE other.revision <> v.revision AND other.version = v.version));
