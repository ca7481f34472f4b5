-- SPDX-License-Identifier: Apache-2.0
-- How many partitions of these topics have not come as far as a time.
-- $1 text[] topics, $2 the time
SELECT count(*) FROM position
WHERE topic = ANY ($1::text[]) AND (progress IS NULL OR progress < $2::timestamptz)
