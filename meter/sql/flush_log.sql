-- SPDX-License-Identifier: Apache-2.0
-- Writes next to nothing: its commit flushes the log up to itself, and with it all that stands before.
SELECT pg_logical_emit_message(true, 'tally', '')
