-- SPDX-License-Identifier: Apache-2.0
-- How far the chain of invoices reaches, and what stands at a place in it.
-- $1 bigint: the place
SELECT c.place, i.number, encode(i.hash, 'hex') AS hash
FROM chain c
LEFT JOIN invoice i ON i.place = $1::bigint;
