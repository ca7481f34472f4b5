-- SPDX-License-Identifier: Apache-2.0
-- Minutes of the runs that have ended, by account, day and size.
SELECT account, day, size, minutes FROM usage_day WHERE minutes <> 0 ORDER BY account, day, size
