-- SPDX-License-Identifier: Apache-2.0
-- Begins the closing of a period.
-- $1 date: the period's first day
INSERT INTO closing (period, begun_at)
VALUES ($1::date, clock_timestamp());
