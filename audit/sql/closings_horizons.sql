-- SPDX-License-Identifier: Apache-2.0
-- Up to when usage was known to the invoices that closings issued; not to those that were issued for
-- a single account, after a credit note.
SELECT i.period::text AS period, i.inputs ->> 'horizon' AS horizon
FROM invoice i
WHERE i.kind = 0
  AND NOT EXISTS (SELECT FROM invoice e
                  WHERE e.account = i.account AND e.period = i.period AND e.kind = 0
                    AND e.place < i.place);
