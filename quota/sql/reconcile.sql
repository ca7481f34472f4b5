-- SPDX-License-Identifier: Apache-2.0
-- Where the books and the orchestrator's list (the temporary table orchestrator_list) differ. Sizes are compared in
-- lower case; of an open run the last one held counts.
WITH books AS (
    SELECT v.account, v.vm, v.started_at, substring(v.sizes FROM '[^ ]+$') AS size FROM vm v
    WHERE v.listed AND v.phase = 1
      AND NOT EXISTS (SELECT FROM uncounted u WHERE u.account = v.account AND u.vm = v.vm AND u.why = 1)
)
SELECT CASE WHEN l.vm IS NULL THEN 0 WHEN b.vm IS NULL THEN 1 ELSE 2 END, account, vm, b.size, l.size, b.started_at
FROM books b FULL JOIN orchestrator_list l USING (account, vm)
WHERE l.vm IS NULL OR b.vm IS NULL OR l.size <> b.size
ORDER BY account, vm
