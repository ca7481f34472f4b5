-- SPDX-License-Identifier: Apache-2.0
-- The newest link of the chain, as it is noted.
SELECT place, encode(hash, 'hex') AS hash
FROM chain;
