-- SPDX-License-Identifier: Apache-2.0
-- How many VMs of an account run, and since when at the earliest.
-- $1 account
SELECT count(*), min(started_at) FROM vm WHERE account = $1 AND listed AND phase = 1
