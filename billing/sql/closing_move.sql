-- SPDX-License-Identifier: Apache-2.0
-- Notes how far a closing has come.
-- $1 date: the period's first day
-- $2 text: the last account that has been dealt with, or NULL where there was none
-- $3 boolean: whether that was the last of all
-- $4 timestamptz: the horizon
UPDATE closing
SET after = CASE WHEN $3::boolean THEN NULL ELSE coalesce($2::text, after) END,
    closed = $3::boolean,
    horizon = least(horizon, $4::timestamptz)
WHERE period = $1::date;
