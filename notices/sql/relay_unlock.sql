-- SPDX-License-Identifier: Apache-2.0
-- Lets another session be the relay.
SELECT pg_advisory_unlock(7304420260000001);
