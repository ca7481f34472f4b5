-- SPDX-License-Identifier: Apache-2.0
-- All tokens, oldest first; without their hashes.
SELECT id, role, account, note, created_at, expires_at, revoked_at
FROM token
ORDER BY created_at, id
