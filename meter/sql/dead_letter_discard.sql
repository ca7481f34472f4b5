-- SPDX-License-Identifier: Apache-2.0
-- $1 bigint[] ids, or NULL: all that are open
UPDATE dead_letter SET state = 'discarded', state_at = clock_timestamp()
WHERE state = 'open' AND ($1::bigint[] IS NULL OR id = ANY ($1::bigint[]))
