-- SPDX-License-Identifier: Apache-2.0
-- Accounts that are not what their histories say.
SELECT *
FROM (
    SELECT coalesce(a.account, h.account) AS account,
           CASE WHEN a.account IS NULL THEN 'its history is there, and the account is not'
                WHEN h.account IS NULL THEN 'it has no history'
                WHEN h.first <> 1 OR h.revisions <> h.last
                THEN format('its history has %s of %s revisions', h.revisions, h.last)
                WHEN a.revision <> h.last
                THEN format('it is at revision %s, and its history has come to %s', a.revision, h.last)
                WHEN a.content <> n.content
                THEN format('its content is not that of revision %s in its history', a.revision)
                WHEN a.applied_at <> n.applied_at
                THEN format('it was applied at %s, and its history has %s', a.applied_at, n.applied_at)
           END AS what
    FROM account a
    FULL JOIN (SELECT account, min(revision) AS first, max(revision) AS last, count(*) AS revisions
               FROM account_history
               GROUP BY account) AS h ON h.account = a.account
    LEFT JOIN account_history n ON n.account = h.account AND n.revision = h.last
) AS all_accounts
WHERE what IS NOT NULL
ORDER BY account;
