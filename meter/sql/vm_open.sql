-- SPDX-License-Identifier: Apache-2.0
-- VMs with an open run that began before a time; with --as-of, only those without events after it.
-- $1 text[] accounts, $2 the time, $3 as-of or NULL
SELECT account, vm, phase, started_at, nth, run, sizes, proof_at FROM vm
WHERE account = ANY ($1::text[]) AND listed AND phase = 1 AND started_at < $2::timestamptz
  AND ($3::timestamptz IS NULL OR last_at <= $3::timestamptz)
ORDER BY account, vm
