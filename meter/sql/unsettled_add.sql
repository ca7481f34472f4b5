-- SPDX-License-Identifier: Apache-2.0
-- Notes that accounts' usage may have changed from a day on.
-- $1 text[] accounts, $2 date[] days
INSERT INTO unsettled (account, since) SELECT * FROM unnest($1::text[], $2::date[])
