-- SPDX-License-Identifier: Apache-2.0
-- Whether this session is the relay from now on: an advisory lock that lives as long as the session.
-- Of each database its own; the key is any number that nothing else here uses.
SELECT pg_try_advisory_lock(7304420260000001);
