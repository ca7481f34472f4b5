-- SPDX-License-Identifier: Apache-2.0
-- What retractions of some VMs take back.
-- $1 text[] accounts, $2 text[] VMs
SELECT e.account, e.vm, e.target_source, e.target_id
FROM unnest($1::text[], $2::text[]) AS asked (account, vm)
JOIN event e USING (account, vm)
WHERE e.type = 5
