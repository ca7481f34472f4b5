-- SPDX-License-Identifier: Apache-2.0
-- Every way in which events name a size, with the first and last time that it was so.
SELECT size, millicpu, memory_bytes, min(at), max(at) FROM event WHERE type IN (0, 1)
GROUP BY size, millicpu, memory_bytes
