-- SPDX-License-Identifier: Apache-2.0
-- The database's clock; and the later of it and the greatest progress, from which on reservations and vouches have their
-- time.
SELECT n.clock, greatest(n.clock, (SELECT max(progress) FROM position)) AS latest
FROM (SELECT clock_timestamp() AS clock) n
