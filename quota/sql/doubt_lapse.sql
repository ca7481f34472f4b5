-- SPDX-License-Identifier: Apache-2.0
-- Forgets given-back reservations when progress says that no start from before can come any more.
DELETE FROM doubt d
USING (SELECT CASE WHEN count(*) = 0 THEN clock_timestamp() WHEN count(*) = count(progress) THEN min(progress) END
       AS progress FROM position) p
WHERE d.until < p.progress
