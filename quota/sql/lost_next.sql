-- SPDX-License-Identifier: Apache-2.0
-- The earliest proof of life of accounts' runs that count and are under watch; accounts without such runs are left
-- out.
-- $1 text[] accounts
SELECT v.account, min(v.proof_at) FROM vm v
WHERE v.account = ANY ($1::text[]) AND v.listed AND v.phase = 1 AND v.proof_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM uncounted u WHERE u.account = v.account AND u.vm = v.vm)
GROUP BY v.account
