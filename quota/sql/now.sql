-- SPDX-License-Identifier: Apache-2.0
-- The database's clock; progress (NULL while a partition has none; the clock where nothing ever came from Kafka); the
-- later of the clock and the greatest progress, which holds where the clock was set back; the catalogue's revision;
-- when a restored database was recognised as one.
SELECT n.clock,
       CASE WHEN p.partitions = 0 THEN n.clock WHEN p.partitions = p.with_progress THEN p.least END AS progress,
       greatest(n.clock, p.greatest) AS latest, s.catalog_revision, i.restored_at
FROM (SELECT clock_timestamp() AS clock) n,
     (SELECT count(*) AS partitions, count(progress) AS with_progress, min(progress) AS least,
             max(progress) AS greatest FROM position) p,
     state s LEFT JOIN instance i ON true
