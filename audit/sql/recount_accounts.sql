-- SPDX-License-Identifier: Apache-2.0
-- All accounts with the counts of their slots, in order; those that have only the one or the other, too.
SELECT account, a.account IS NOT NULL AS known, q.running, q.reserved, q.look_at, q.lapse_at
FROM account a FULL JOIN quota q USING (account)
ORDER BY account
