-- SPDX-License-Identifier: Apache-2.0
-- Accounts, behind one, that something may have lapsed for, or whose runs may be lost.
-- $1 the account, $2 how many at most
WITH p AS (
    SELECT CASE WHEN count(*) = 0 THEN clock_timestamp() WHEN count(*) = count(progress) THEN min(progress) END
           AS progress FROM position
)
SELECT q.account FROM p, quota q
WHERE q.account > $1 AND (q.lapse_at < p.progress OR q.look_at < least(p.progress, clock_timestamp()))
ORDER BY q.account LIMIT $2::integer
