-- SPDX-License-Identifier: Apache-2.0
-- All events that act, by VM; of each VM first the retractions, then the rest in order of time.
SELECT account, vm, source, id, at, type, bootup, sequence, size, millicpu, memory_bytes, run, target_source, target_id
FROM event
ORDER BY account, vm, type <> 5, at
