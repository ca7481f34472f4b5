-- SPDX-License-Identifier: Apache-2.0
-- $1 topic or NULL, $2 partition or NULL, $3 file or NULL
SELECT origin FROM origin
WHERE (topic = $1 AND partition = $2::integer) OR file = $3
