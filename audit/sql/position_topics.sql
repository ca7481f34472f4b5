-- SPDX-License-Identifier: Apache-2.0
-- The topics that were ever metered.
SELECT DISTINCT topic FROM position ORDER BY topic
