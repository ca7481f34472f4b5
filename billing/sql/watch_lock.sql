-- SPDX-License-Identifier: Apache-2.0
-- Whether this session is the one that watches: an advisory lock that lives as long as the session.
SELECT pg_try_advisory_lock(7304420260000002);
