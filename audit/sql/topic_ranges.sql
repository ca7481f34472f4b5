-- SPDX-License-Identifier: Apache-2.0
-- Partitions, their origins, and the offsets below which everything has been metered.
SELECT p.topic, p.partition, o.origin, p.next_offset
FROM position p JOIN origin o USING (topic, partition)
ORDER BY topic, partition
