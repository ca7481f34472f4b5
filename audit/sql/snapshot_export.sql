-- SPDX-License-Identifier: Apache-2.0
-- Names this transaction's snapshot, so that other connections can read in it.
SELECT pg_export_snapshot()
