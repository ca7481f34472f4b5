-- SPDX-License-Identifier: Apache-2.0
-- The catalogue in force: revision, content. No row where none was ever applied.
SELECT revision, content::text
FROM catalog
ORDER BY revision DESC
LIMIT 1
