-- SPDX-License-Identifier: Apache-2.0
-- Closed periods are settled: what changes them after their invoice is noted, and the account's next
-- invoice adjusts it.

CREATE TABLE unsettled (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text COLLATE "C" NOT NULL,
    since   date NOT NULL
);
COMMENT ON TABLE unsettled IS 'Accounts of which usage, terms or charges may have changed from a day on. Rows are only ever added, '
    'and deleted by the closing whose snapshot had them: what comes meanwhile stays for the next.';
CREATE INDEX unsettled_account ON unsettled (account);

-- What says nothing that can be checked goes; horizon is what the closing's invoices keep, too.
ALTER TABLE closing ADD COLUMN closed boolean NOT NULL DEFAULT false;
ALTER TABLE closing ADD COLUMN horizon timestamptz;
UPDATE closing SET closed = closed_at IS NOT NULL, after = CASE WHEN closed_at IS NULL THEN after END;
ALTER TABLE closing DROP COLUMN begun_at, DROP COLUMN closed_at;
ALTER TABLE closing ADD CHECK (NOT closed OR after IS NULL);
COMMENT ON COLUMN closing.after IS 'The last account that has been dealt with: a closing that was cut short goes on behind it. NULL once closed.';
COMMENT ON COLUMN closing.horizon IS 'The earliest horizon of its batches: where it was before the period''s end, time alone changes the period.';

-- Closings of before did not adjust: the next one looks at every account.
INSERT INTO unsettled (account, since)
SELECT account, (SELECT min(period) FROM closing) FROM account WHERE EXISTS (SELECT FROM closing);

CREATE FUNCTION refuse_reopening() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'closed periods stay closed: % of table % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'A credit note takes an invoice back: tally invoices void.';
END
$$;
COMMENT ON FUNCTION refuse_reopening() IS 'Trigger of the tables that say how far the books have come.';
CREATE TRIGGER never_reopen BEFORE UPDATE ON closing
    FOR EACH ROW WHEN (OLD.closed) EXECUTE FUNCTION refuse_reopening();
CREATE TRIGGER never_vanish BEFORE DELETE OR TRUNCATE ON closing
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_reopening();
CREATE TRIGGER never_vanish BEFORE DELETE OR TRUNCATE ON series
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_reopening();
CREATE TRIGGER never_vanish BEFORE DELETE OR TRUNCATE ON chain
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_reopening();
ALTER TABLE closing ENABLE ALWAYS TRIGGER never_reopen;
ALTER TABLE closing ENABLE ALWAYS TRIGGER never_vanish;
ALTER TABLE series ENABLE ALWAYS TRIGGER never_vanish;
ALTER TABLE chain ENABLE ALWAYS TRIGGER never_vanish;
COMMENT ON COLUMN grant_draw.amount IS 'Of credit grants also what adjusting closed periods drew anew, or gave back (negative).';
CREATE UNIQUE INDEX invoice_credits ON invoice (account, credits_number) WHERE credits_number IS NOT NULL;
-- Where a grant has become one of the other unit, an invoice gives back in the one and draws in the other.
ALTER TABLE grant_draw DROP CONSTRAINT grant_draw_pkey, ADD PRIMARY KEY (account, grant_id, number, unit);
