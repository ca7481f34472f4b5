-- SPDX-License-Identifier: Apache-2.0
-- Notes that notices were acknowledged by the broker.
-- $1 bigint[]: their ids
UPDATE notice SET published_at = clock_timestamp()
WHERE id = ANY ($1::bigint[]) AND published_at IS NULL;
