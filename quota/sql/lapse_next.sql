-- SPDX-License-Identifier: Apache-2.0
-- When the next reservation or vouch of an account lapses, of those whose time is not over.
-- $1 account, $2 progress
SELECT least((SELECT min(lapses_at) FROM reservation WHERE account = $1 AND lapses_at >= $2::timestamptz),
             (SELECT min(until) FROM uncounted WHERE account = $1 AND until >= $2::timestamptz))
