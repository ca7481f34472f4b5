-- SPDX-License-Identifier: Apache-2.0
-- All VMs, page by page.
-- $1 after this account, $2 after this VM (both '' to begin), $3 limit
SELECT account, vm FROM vm WHERE (account, vm) > ($1, $2) ORDER BY account, vm LIMIT $3::integer
