-- SPDX-License-Identifier: Apache-2.0
-- Which catalogue is in force, as it is noted.
SELECT catalog_revision
FROM state;
