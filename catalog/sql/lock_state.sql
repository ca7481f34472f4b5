-- SPDX-License-Identifier: Apache-2.0
-- The catalogue's revision, held against all who write usage until the transaction ends.
SELECT catalog_revision FROM state FOR UPDATE
