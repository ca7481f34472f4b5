-- SPDX-License-Identifier: Apache-2.0
-- VMs of some accounts whose open run does not count.
-- $1 text[] accounts
SELECT account, vm FROM uncounted WHERE account = ANY ($1::text[]) ORDER BY account, vm
