-- SPDX-License-Identifier: Apache-2.0
-- Tokens by their ids.
-- $1 text[] ids
SELECT id, encode(hash, 'hex'), role, account, expires_at, revoked_at FROM token WHERE id = ANY ($1::text[])
