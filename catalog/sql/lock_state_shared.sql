-- SPDX-License-Identifier: Apache-2.0
-- The catalogue's revision, held against replacement until the transaction ends.
SELECT catalog_revision FROM state FOR SHARE
