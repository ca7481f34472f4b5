-- SPDX-License-Identifier: Apache-2.0
-- A retry that failed for another reason than before.
-- $1 id, $2 reason, $3 detail
UPDATE dead_letter SET reason = $2, detail = $3, state_at = clock_timestamp() WHERE id = $1::bigint AND state = 'open'
