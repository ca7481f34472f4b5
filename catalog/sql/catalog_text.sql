-- SPDX-License-Identifier: Apache-2.0
-- The catalogue in force, for people.
SELECT jsonb_pretty(content)
FROM catalog
ORDER BY revision DESC
LIMIT 1
