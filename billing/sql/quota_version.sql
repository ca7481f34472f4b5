-- SPDX-License-Identifier: Apache-2.0
-- The number that rises with all that changes an account's usage otherwise than by time.
-- $1 text: account
SELECT version
FROM quota
WHERE account = $1::text
