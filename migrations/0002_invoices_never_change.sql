-- SPDX-License-Identifier: Apache-2.0
-- What was issued never changes: the database itself refuses, and a chain of hashes shows it where
-- somebody made the database look away.

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was issued never changes: % of table % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'A credit note takes an invoice back: tally invoices void.';
END
$$;
COMMENT ON FUNCTION refuse_change() IS 'Trigger of the tables that hold what was issued.';

CREATE TRIGGER never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_line
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON grant_draw
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON carried_grant
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Also where a session plays a replica.
ALTER TABLE invoice ENABLE ALWAYS TRIGGER never_change;
ALTER TABLE invoice_line ENABLE ALWAYS TRIGGER never_change;
ALTER TABLE grant_draw ENABLE ALWAYS TRIGGER never_change;
ALTER TABLE carried_grant ENABLE ALWAYS TRIGGER never_change;

CREATE TABLE chain (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    place bigint NOT NULL,
    hash  bytea NOT NULL CHECK (length(hash) = 32)
);
COMMENT ON TABLE chain IS 'One row: the newest link of the chain of invoices and credit notes.';
INSERT INTO chain (place, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

ALTER TABLE invoice ADD COLUMN place bigint;
ALTER TABLE invoice ADD CHECK (length(hash) = 32 AND length(previous_hash) = 32);
CREATE UNIQUE INDEX invoice_place ON invoice (place);
COMMENT ON COLUMN invoice.place IS 'In the chain, from 1: the order in which invoices and credit notes were issued.';
COMMENT ON COLUMN invoice.hash IS 'SHA-256 of content and hash before it, as docs/invoices.md describes.';
COMMENT ON COLUMN invoice.previous_hash IS 'The hash at the place before; zeros at the first.';
