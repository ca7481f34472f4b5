-- SPDX-License-Identifier: Apache-2.0
-- Locks accounts' counts, in order, and reads them, with the version that they are.
-- $1 text[] accounts
SELECT account, running, reserved, version, look_at, exceeded, lapse_at, xmin::text::bigint FROM quota
WHERE account = ANY ($1::text[]) ORDER BY account FOR UPDATE
