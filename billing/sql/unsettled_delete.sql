-- SPDX-License-Identifier: Apache-2.0
-- Forgets what is settled.
-- $1 bigint[]: the rows
DELETE FROM unsettled WHERE id = ANY ($1::bigint[]);
