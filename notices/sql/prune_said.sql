-- SPDX-License-Identifier: Apache-2.0
-- Forgets what was said once only, so long ago that its cause is over.
-- $1 bigint: for how many days it is kept
-- $2 int: how many at most
DELETE FROM noticed
WHERE (account, type, subject, step) IN
      (SELECT account, type, subject, step FROM noticed
       WHERE at < clock_timestamp() - $1::bigint * interval '1 day'
       ORDER BY at
       LIMIT $2::int);
