-- SPDX-License-Identifier: Apache-2.0
-- The earliest proof of life of an account's runs that count and are under watch.
-- $1 account
SELECT min(v.proof_at) FROM vm v
WHERE v.account = $1 AND v.listed AND v.phase = 1
  AND NOT EXISTS (SELECT FROM uncounted u WHERE u.account = v.account AND u.vm = v.vm)
