-- SPDX-License-Identifier: Apache-2.0
-- VMs of some accounts whose open run is under watch and may be lost: no proof of life since a time. The rows are
-- locked, so that no proof comes meanwhile; those that are being written are passed over.
-- $1 text[] accounts, $2 the time, $3 how many at most
SELECT v.account, v.vm, v.proof_at, v.started_at, v.run, v.sizes, r.vm IS NOT NULL AS reserved
FROM vm v LEFT JOIN reservation r USING (account, vm)
WHERE v.account = ANY ($1::text[]) AND v.listed AND v.phase = 1 AND v.proof_at < $2::timestamptz
  AND NOT EXISTS (SELECT FROM uncounted u WHERE u.account = v.account AND u.vm = v.vm)
ORDER BY v.account, v.vm LIMIT $3::integer FOR UPDATE OF v SKIP LOCKED
