-- SPDX-License-Identifier: Apache-2.0
-- Retries that were metered (or turned out to be repeats).
-- $1 bigint[] ids
UPDATE dead_letter SET state = 'metered', state_at = clock_timestamp() WHERE id = ANY ($1::bigint[]) AND state = 'open'
