-- SPDX-License-Identifier: Apache-2.0
-- Notes the newest link of the chain of invoices.
-- $1 bigint: its place
-- $2 text: its hash in hexadecimal
UPDATE chain
SET place = $1::bigint, hash = decode($2::text, 'hex');
