-- SPDX-License-Identifier: Apache-2.0
-- The ledger: catalogue, accounts, events, what they mean (VMs, runs, minutes), what was billed.
-- Every large table leads its key with the account, so that it can be distributed by account.
-- Text that decides order is compared byte by byte (COLLATE "C").

-- ---- catalogue and accounts ----

CREATE TABLE catalog (
    revision   bigint PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    content    jsonb NOT NULL
);
COMMENT ON TABLE catalog IS 'Every catalogue ever applied, whole; the newest revision is in force.';

CREATE TABLE account (
    account    text COLLATE "C" PRIMARY KEY,
    revision   bigint NOT NULL DEFAULT 1,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    content    jsonb NOT NULL
);
COMMENT ON TABLE account IS 'Accounts as they are now: one object of the accounts file each.';

CREATE TABLE account_history (
    account    text COLLATE "C" NOT NULL,
    revision   bigint NOT NULL,
    applied_at timestamptz NOT NULL,
    content    jsonb NOT NULL,
    PRIMARY KEY (account, revision)
);
COMMENT ON TABLE account_history IS 'Every content an account ever had, with the moment it was applied.';

CREATE TABLE state (
    one              boolean PRIMARY KEY DEFAULT true CHECK (one),
    catalog_revision bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE state IS 'One row. Collectors hold it FOR SHARE while they write; applying a catalogue holds it FOR UPDATE.';
INSERT INTO state DEFAULT VALUES;

-- ---- where events came from ----

CREATE TABLE origin (
    origin    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic     text COLLATE "C",
    partition integer,
    file      text COLLATE "C",
    CHECK ((topic IS NULL) = (partition IS NULL)),
    CHECK ((topic IS NULL) <> (file IS NULL))
);
COMMENT ON TABLE origin IS 'A partition of a topic, or a file: with a position (offset, or line from 1) it says where an event stands.';
CREATE UNIQUE INDEX origin_partition ON origin (topic, partition) WHERE topic IS NOT NULL;
CREATE UNIQUE INDEX origin_file ON origin (file) WHERE file IS NOT NULL;

CREATE TABLE position (
    topic       text COLLATE "C" NOT NULL,
    partition   integer NOT NULL,
    epoch       bigint NOT NULL DEFAULT 0,
    next_offset bigint NOT NULL,
    last_offset bigint,
    last_hash   bigint,
    last_at     timestamptz,
    progress    timestamptz,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE position IS 'How far each partition has been metered; moves in the transaction that metered it.';
COMMENT ON COLUMN position.epoch IS 'Raised when a collector takes the partition up: whoever holds an older one can write no more.';
COMMENT ON COLUMN position.last_hash IS 'Of the record at last_offset, key and value: a topic made anew is recognised by it.';
COMMENT ON COLUMN position.last_at IS 'Kafka''s timestamp of the record at last_offset.';
COMMENT ON COLUMN position.progress IS 'A time of this database''s clock: all that stood in the partition then has been metered.';

-- ---- events and what they mean ----

CREATE TABLE event (
    account       text COLLATE "C" NOT NULL,
    vm            text COLLATE "C" NOT NULL,
    source        text COLLATE "C" NOT NULL,
    id            text COLLATE "C" NOT NULL,
    at            timestamptz NOT NULL,
    type          smallint NOT NULL,
    bootup        smallint,
    sequence      text COLLATE "C",
    size          text COLLATE "C",
    millicpu      bigint,
    memory_bytes  bigint,
    run           text COLLATE "C",
    reservation   text COLLATE "C",
    reason        text COLLATE "C",
    target_source text COLLATE "C",
    target_id     text COLLATE "C",
    origin        integer NOT NULL,
    position      bigint NOT NULL,
    PRIMARY KEY (account, vm, source, id)
);
COMMENT ON TABLE event IS 'Every metered event, for ever: usage is rebuilt, explained and audited from these alone.';
COMMENT ON COLUMN event.type IS '0 started, 1 resized, 2 heartbeat, 3 hibernated, 4 stopped, 5 retracted';
COMMENT ON COLUMN event.bootup IS '0 CLEAN, 1 FORK, 2 RESUME, 3 RUNNING';
COMMENT ON COLUMN event.size IS 'As written, in lower case; resources are looked up in the catalogue when usage is computed.';
COMMENT ON COLUMN event.target_id IS 'With target_source, the event of this VM that a retraction takes back.';
COMMENT ON COLUMN event.position IS 'Offset in the partition, or line in the file, of origin.';

CREATE INDEX event_retraction ON event (account, vm) WHERE type = 5;

CREATE TABLE vm (
    account    text COLLATE "C" NOT NULL,
    vm         text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    last_at    timestamptz,
    phase      smallint NOT NULL,
    started_at timestamptz,
    nth        integer NOT NULL,
    run        text COLLATE "C",
    sizes      text COLLATE "C",
    proof_at   timestamptz,
    pending    boolean NOT NULL,
    listed     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (account, vm)
) WITH (fillfactor = 60);
COMMENT ON TABLE vm IS 'Each VM''s timeline as it stands after its last event; also the lock of the VM: version rises with every write.';
COMMENT ON COLUMN vm.last_at IS 'Time of the latest metered event; one that is later needs no look back.';
COMMENT ON COLUMN vm.phase IS '0 not running, 1 running, 2 lost';
COMMENT ON COLUMN vm.started_at IS 'Start of the open run, or of the latest one.';
COMMENT ON COLUMN vm.nth IS 'Of the runs with that start, from 0.';
COMMENT ON COLUMN vm.run IS 'Name of the open run; while the VM is lost, of the lost one.';
COMMENT ON COLUMN vm.sizes IS 'Sizes of the open run: "nano", or "nano 2026-10-03T10:00:30Z large ..." with the instants of change; while lost, the last.';
COMMENT ON COLUMN vm.proof_at IS 'Last proof of life of an open run under watch; NULL where it is not under watch.';
COMMENT ON COLUMN vm.pending IS 'A retraction waits for its event: nothing of this VM may take the short way.';
COMMENT ON COLUMN vm.listed IS 'Whether vm_listed has it. Set with the first run, and cleared some time after the last, so that a VM that '
    'starts and stops again and again is written without touching an index.';
CREATE INDEX vm_listed ON vm (account, vm) WHERE listed;
COMMENT ON INDEX vm_listed IS 'Every VM that runs is in it, and some that ran lately.';

CREATE TABLE run (
    account        text COLLATE "C" NOT NULL,
    started_at     timestamptz NOT NULL,
    vm             text COLLATE "C" NOT NULL,
    nth            integer NOT NULL,
    ended_at       timestamptz NOT NULL,
    ended_by       smallint NOT NULL,
    run            text COLLATE "C",
    sizes          text COLLATE "C" NOT NULL,
    minutes        bigint NOT NULL,
    credit_minutes bigint NOT NULL,
    PRIMARY KEY (account, started_at, vm, nth)
);
COMMENT ON TABLE run IS 'Every run that has ended; open ones stand in vm.';
COMMENT ON COLUMN run.ended_by IS '0 hibernated, 1 stopped, 2 superseded, 3 heartbeat_lost';
CREATE INDEX run_long ON run (account, ended_at) WHERE ended_at - started_at > interval '24 hours';
COMMENT ON INDEX run_long IS 'Runs that overlap a span began in it or up to a day before, but for these.';

CREATE TABLE usage_day (
    account text COLLATE "C" NOT NULL,
    day     date NOT NULL,
    size    text COLLATE "C" NOT NULL,
    minutes bigint NOT NULL,
    PRIMARY KEY (account, day, size)
) WITH (fillfactor = 70);
COMMENT ON TABLE usage_day IS 'Minutes of the runs that have ended, by the UTC day in which each minute begins.';

-- ---- what could not be metered ----

CREATE TABLE dead_letter (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reason     text NOT NULL,
    detail     text NOT NULL,
    account    text COLLATE "C",
    vm         text COLLATE "C",
    at         timestamptz,
    origin     integer NOT NULL,
    position   bigint NOT NULL,
    key        bytea,
    value      bytea,
    headers    bytea,
    sha256     bytea NOT NULL,
    arrived_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'metered', 'discarded')),
    state_at   timestamptz
);
COMMENT ON TABLE dead_letter IS 'What could not be metered, whole, with the reason; nothing is lost.';
COMMENT ON COLUMN dead_letter.headers IS 'Kafka''s headers in order: length of name, name, length of value (-1: null), value; lengths are 32 bits, big-endian.';
COMMENT ON COLUMN dead_letter.sha256 IS 'Of key, value and headers: the same record again is the same dead letter.';
CREATE UNIQUE INDEX dead_letter_place ON dead_letter (origin, position, sha256);
CREATE INDEX dead_letter_open ON dead_letter (reason, account, id) WHERE state = 'open';

-- ---- billing ----

CREATE TABLE closing (
    period     date PRIMARY KEY CHECK (extract(day FROM period) = 1),
    begun_at   timestamptz NOT NULL,
    after      text COLLATE "C",
    closed_at  timestamptz
);
COMMENT ON TABLE closing IS 'Periods whose closing has begun; the earliest begins the books.';
COMMENT ON COLUMN closing.after IS 'The last account that has been dealt with: a closing that was cut short goes on behind it.';

CREATE TABLE series (
    series text PRIMARY KEY,
    last   bigint NOT NULL
);
COMMENT ON TABLE series IS 'Last number of each gapless series: INV-2026, CN-2026; locked for an instant.';

CREATE TABLE invoice (
    account                 text COLLATE "C" NOT NULL,
    period                  date NOT NULL,
    number                  text COLLATE "C" NOT NULL,
    kind                    smallint NOT NULL DEFAULT 0,
    credits_number          text COLLATE "C",
    reason                  text,
    name                    text NOT NULL,
    issued_at               timestamptz NOT NULL,
    currency                text NOT NULL DEFAULT 'USD',
    included_credit_minutes bigint NOT NULL,
    granted_credit_minutes  bigint NOT NULL,
    purchased_credit_minutes bigint NOT NULL,
    subtotal_cents          bigint NOT NULL,
    total_cents             bigint NOT NULL,
    usage                   jsonb NOT NULL,
    inputs                  jsonb NOT NULL,
    catalog_revision        bigint NOT NULL,
    account_revision        bigint NOT NULL,
    hash                    bytea,
    previous_hash           bytea,
    PRIMARY KEY (account, number)
);
COMMENT ON TABLE invoice IS 'Issued invoices and credit notes; what was issued never changes.';
COMMENT ON COLUMN invoice.kind IS '0 invoice, 1 credit note';
COMMENT ON COLUMN invoice.credits_number IS 'The invoice that a credit note takes back.';
COMMENT ON COLUMN invoice.usage IS 'Minutes by size, as printed.';
COMMENT ON COLUMN invoice.inputs IS 'All that it was rated from: minutes by day and size, terms by segment, grants with their balances.';
CREATE UNIQUE INDEX invoice_number ON invoice (number);
CREATE INDEX invoice_period ON invoice (period, number);

CREATE TABLE invoice_line (
    account     text COLLATE "C" NOT NULL,
    number      text COLLATE "C" NOT NULL,
    line        integer NOT NULL,
    kind        text NOT NULL,
    description text NOT NULL,
    from_day    date NOT NULL,
    to_day      date NOT NULL,
    quantity_cm bigint,
    price_e12   bigint,
    ref_period  date,
    ref_grant   text COLLATE "C",
    cents       bigint NOT NULL,
    PRIMARY KEY (account, number, line)
);
COMMENT ON TABLE invoice_line IS 'The lines of an invoice, in the order of printing.';
COMMENT ON COLUMN invoice_line.quantity_cm IS 'Credit-minutes that the line prices.';
COMMENT ON COLUMN invoice_line.price_e12 IS 'USD per credit, times 10^12.';
COMMENT ON COLUMN invoice_line.ref_period IS 'The period that an adjustment corrects.';

CREATE TABLE grant_draw (
    account      text COLLATE "C" NOT NULL,
    grant_id     text COLLATE "C" NOT NULL,
    number       text COLLATE "C" NOT NULL,
    unit         smallint NOT NULL,
    amount       bigint NOT NULL,
    PRIMARY KEY (account, grant_id, number)
);
COMMENT ON TABLE grant_draw IS 'What each invoice took from each grant; a grant''s balance is its amount less its draws.';
COMMENT ON COLUMN grant_draw.unit IS '0 credit (amount in credit-minutes), 1 usd (in cents)';

CREATE TABLE carried_grant (
    account  text COLLATE "C" NOT NULL,
    number   text COLLATE "C" NOT NULL,
    from_day date NOT NULL,
    cents    bigint NOT NULL,
    PRIMARY KEY (account, number)
);
COMMENT ON TABLE carried_grant IS 'What an invoice could not use and carried forward, as the usd grant carry:<number>.';
