-- SPDX-License-Identifier: Apache-2.0
-- Who may ask over HTTP.

CREATE TABLE token (
    id         text COLLATE "C" PRIMARY KEY,
    hash       bytea NOT NULL CHECK (length(hash) = 32),
    role       text NOT NULL CHECK (role IN ('orchestrator', 'finance', 'customer', 'admin')),
    account    text COLLATE "C",
    note       text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by text NOT NULL DEFAULT session_user,
    expires_at timestamptz,
    revoked_at timestamptz,
    CHECK ((role = 'customer') = (account IS NOT NULL))
);
COMMENT ON TABLE token IS 'Credentials of the HTTP service. The secret itself is nowhere: hash is its SHA-256.';
COMMENT ON COLUMN token.id IS 'The first part of the token, which may be shown.';
