-- SPDX-License-Identifier: Apache-2.0
-- Rows that belong to no invoice; of closings again, to none that was voided and is its period's last.
SELECT 'invoice_line' AS kind, l.account, l.number
FROM invoice_line l
WHERE NOT EXISTS (SELECT FROM invoice i WHERE i.account = l.account AND i.number = l.number)
UNION ALL
SELECT 'grant_draw', d.account, d.number
FROM grant_draw d
WHERE NOT EXISTS (SELECT FROM invoice i WHERE i.account = d.account AND i.number = d.number)
UNION ALL
SELECT 'carried_grant', g.account, g.number
FROM carried_grant g
WHERE NOT EXISTS (SELECT FROM invoice i WHERE i.account = g.account AND i.number = g.number)
UNION ALL
SELECT 'closed_again', a.account, a.number
FROM closed_again a
WHERE NOT EXISTS (SELECT FROM invoice c WHERE c.account = a.account AND c.credits_number = a.number)
   OR EXISTS (SELECT FROM invoice i
              JOIN invoice l ON l.account = i.account AND l.period = i.period AND l.kind = 0 AND l.place > i.place
              WHERE i.account = a.account AND i.number = a.number)
UNION ALL
SELECT 'invoice', i.account, i.number
FROM invoice i
WHERE NOT EXISTS (SELECT FROM account a WHERE a.account = i.account);
