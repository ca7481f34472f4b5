-- SPDX-License-Identifier: Apache-2.0
-- VMs that have events after a time: as of it, they were otherwise.
-- $1 text[] accounts, $2 the time
SELECT account, vm FROM vm WHERE account = ANY ($1::text[]) AND last_at > $2::timestamptz ORDER BY account, vm
