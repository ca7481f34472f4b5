-- SPDX-License-Identifier: Apache-2.0
-- All runs that have ended, by VM in order of their start.
SELECT account, vm, started_at, nth, ended_at, ended_by, run, sizes, minutes, credit_minutes
FROM run
ORDER BY account, vm, started_at, nth
