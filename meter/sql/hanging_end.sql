-- SPDX-License-Identifier: Apache-2.0
-- Ends sessions of collectors that hang in a COPY, and their transactions with them. PostgreSQL waits for a COPY's
-- client for ever, whatever the timeouts: a stopped process would keep what it has written locked. Working ones hand
-- a COPY over in a second.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND state = 'active' AND wait_event = 'ClientRead' AND query_start < clock_timestamp() - interval '10 seconds'
  AND query ~ '^COPY (event|run|vm|vm_stage) \(.*\) FROM STDIN \(FORMAT binary\)$'
