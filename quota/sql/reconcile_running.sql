-- SPDX-License-Identifier: Apache-2.0
-- How many VMs run by the books.
SELECT count(*) FROM vm v
WHERE v.listed AND v.phase = 1
  AND NOT EXISTS (SELECT FROM uncounted u WHERE u.account = v.account AND u.vm = v.vm AND u.why = 1)
