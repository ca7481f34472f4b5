-- SPDX-License-Identifier: Apache-2.0
-- Revokes a token; once revoked it stays as it is.
-- $1 text id
UPDATE token SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = $1::text
