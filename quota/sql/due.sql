-- SPDX-License-Identifier: Apache-2.0
-- Accounts, behind one, that something has lapsed for, or whose runs may be lost.
-- $1 the account, $2 how many at most
WITH p AS (
    SELECT CASE WHEN count(*) = 0 THEN clock_timestamp() WHEN count(*) = count(progress) THEN min(progress) END
           AS progress FROM position
)
SELECT account FROM (
    SELECT r.account FROM p, reservation r WHERE r.lapses_at < p.progress
    UNION SELECT u.account FROM p, uncounted u WHERE u.until < p.progress
    UNION SELECT q.account FROM p, quota q WHERE q.look_at < least(p.progress, clock_timestamp())) AS d (account)
WHERE account > $1 ORDER BY account LIMIT $2::integer
