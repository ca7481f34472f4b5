-- SPDX-License-Identifier: Apache-2.0
-- What others must hear: written in the transaction that causes it, published afterwards.

CREATE TABLE notice (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    account      text COLLATE "C" NOT NULL,
    type         text NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    data         jsonb NOT NULL CHECK (jsonb_typeof(data) = 'object'),
    published_at timestamptz
);
COMMENT ON TABLE notice IS 'CloudEvents for the topic tally.notices, in order; kept for a while after they were published.';
COMMENT ON COLUMN notice.subject IS 'The account, the VM or the invoice that it is about.';
CREATE INDEX notice_unpublished ON notice (id) WHERE published_at IS NULL;
CREATE INDEX notice_published ON notice (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE noticed (
    account text COLLATE "C" NOT NULL,
    type    text NOT NULL,
    subject text COLLATE "C" NOT NULL,
    step    text COLLATE "C" NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, type, subject, step)
);
COMMENT ON TABLE noticed IS 'What is said once only: per subject, period and step.';
CREATE INDEX noticed_at ON noticed (at);

CREATE TABLE watched (
    account          text COLLATE "C" PRIMARY KEY,
    version          bigint NOT NULL,
    account_revision bigint NOT NULL,
    catalog_revision bigint NOT NULL,
    due_at           timestamptz NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE watched IS 'What the watch over credits and spending saw of an account, and when it must look again.';
COMMENT ON COLUMN watched.version IS 'quota.version then: another one means other usage.';
COMMENT ON COLUMN watched.due_at IS 'No threshold is passed before, as long as nothing but time changes; infinity: never.';
