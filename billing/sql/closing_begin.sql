-- SPDX-License-Identifier: Apache-2.0
-- Begins the closing of a period.
-- $1 date: the period's first day
INSERT INTO closing (period) VALUES ($1::date);
