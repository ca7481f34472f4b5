-- SPDX-License-Identifier: Apache-2.0
-- The catalogue before the one in force: revision, content. No row where there is none.
SELECT revision, content::text
FROM catalog
ORDER BY revision DESC
OFFSET 1
LIMIT 1
