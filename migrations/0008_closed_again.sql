-- SPDX-License-Identifier: Apache-2.0
-- A period whose invoice was voided is open again, until it is closed again; where there is nothing
-- to bill then, no invoice says so.

CREATE TABLE closed_again (
    account text COLLATE "C" NOT NULL,
    number  text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, number)
);
COMMENT ON TABLE closed_again IS 'Voided invoices whose period was closed again with nothing to bill.';

CREATE TRIGGER never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON closed_again
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE closed_again ENABLE ALWAYS TRIGGER never_change;

GRANT SELECT ON closed_again TO tally_collector, tally_service, tally_finance;
GRANT INSERT ON closed_again TO tally_finance;
SELECT customers_see('closed_again');
