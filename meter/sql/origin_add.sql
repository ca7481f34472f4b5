-- SPDX-License-Identifier: Apache-2.0
-- $1 topic or NULL, $2 partition or NULL, $3 file or NULL
INSERT INTO origin (topic, partition, file) VALUES ($1, $2::integer, $3) ON CONFLICT DO NOTHING
