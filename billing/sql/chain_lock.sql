-- SPDX-License-Identifier: Apache-2.0
-- The newest link of the chain of invoices; its row stays locked until the transaction ends.
SELECT place, encode(hash, 'hex') AS hash
FROM chain
FOR UPDATE;
