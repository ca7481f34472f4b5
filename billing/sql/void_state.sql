-- SPDX-License-Identifier: Apache-2.0
-- What an invoice keeps besides what it prints, the credit note that took it back, and the first
-- standing invoice that has drawn from what it carried forward.
-- $1 text: number
SELECT i.catalog_revision, i.account_revision, i.inputs,
       (SELECT c.number FROM invoice c
        WHERE c.account = i.account AND c.credits_number = i.number) AS credit_note,
       d.number AS drawn_by, d.amount AS drawn_cents
FROM invoice i
LEFT JOIN LATERAL (
    SELECT g.number, g.amount
    FROM grant_draw g JOIN invoice o USING (account, number)
    WHERE g.account = i.account AND g.grant_id = 'carry:' || i.number
      AND NOT EXISTS (SELECT FROM invoice c
                      WHERE c.account = g.account AND c.credits_number = g.number)
    ORDER BY o.place
    LIMIT 1) AS d ON true
WHERE i.number = $1::text;
