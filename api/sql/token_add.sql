-- SPDX-License-Identifier: Apache-2.0
-- A new token; none where it is for an account that does not exist.
-- $1 text id, $2 text hash of the secret, hexadecimal, $3 text role, $4 text account or NULL
-- $5 text note, $6 timestamptz when it expires, or NULL
INSERT INTO token (id, hash, role, account, note, expires_at)
SELECT $1::text, decode($2::text, 'hex'), $3::text, $4::text, $5::text, $6::timestamptz
WHERE $4::text IS NULL OR EXISTS (SELECT FROM account WHERE account = $4::text)
