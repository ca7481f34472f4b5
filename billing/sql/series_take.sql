-- SPDX-License-Identifier: Apache-2.0
-- Takes numbers from a gapless series; its row stays locked until the transaction ends.
-- $1 text: the series, "INV-2026"
-- $2 bigint: how many
INSERT INTO series AS s (series, last)
VALUES ($1::text, $2::bigint)
ON CONFLICT (series) DO UPDATE SET last = s.last + excluded.last
RETURNING last;
