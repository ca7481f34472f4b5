-- SPDX-License-Identifier: Apache-2.0
-- Notes how far a closing has come.
-- $1 date: the period's first day
-- $2 text: the last account that has been dealt with, or NULL where there was none
-- $3 boolean: whether that was the last of all
UPDATE closing
SET after = coalesce($2::text, after),
    closed_at = CASE WHEN $3::boolean THEN clock_timestamp() END
WHERE period = $1::date;
