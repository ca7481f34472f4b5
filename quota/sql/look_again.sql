-- SPDX-License-Identifier: Apache-2.0
-- Under another heartbeat timeout any run under watch may be lost sooner than was thought.
UPDATE quota SET look_at = '2000-01-01' WHERE look_at IS NOT NULL
