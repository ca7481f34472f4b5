-- SPDX-License-Identifier: Apache-2.0
-- Dead letters whose time has come: their account appeared, or their time is not far ahead any more. In order
-- of arrival.
-- $1 latest time that is not future, $2 after this id, $3 limit
SELECT d.id, d.origin, d.position, d.key, d.value, d.headers FROM dead_letter d
WHERE d.state = 'open' AND d.id > $2::bigint
  AND ((d.reason = 'unknown_account' AND EXISTS (SELECT FROM account a WHERE a.account = d.account))
       OR (d.reason = 'future' AND d.at <= $1::timestamptz))
ORDER BY d.id LIMIT $3::integer
