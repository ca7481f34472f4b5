-- SPDX-License-Identifier: Apache-2.0
-- Keeps what could not be metered, whole. The same record again is the same dead letter.
-- $1 reason, $2 detail, $3 account, $4 vm, $5 time, $6 origin, $7 position, $8 key, $9 value, $10 headers (bytea)
INSERT INTO dead_letter (reason, detail, account, vm, at, origin, position, key, value, headers, sha256)
VALUES ($1, $2, $3, $4, $5::timestamptz, $6::integer, $7::bigint, $8::bytea, $9::bytea, $10::bytea,
        sha256(coalesce($8::bytea, '') || '\x00'::bytea || coalesce($9::bytea, '') || '\x00'::bytea
               || coalesce($10::bytea, '')))
ON CONFLICT (origin, position, sha256) DO NOTHING
