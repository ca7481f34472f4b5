-- SPDX-License-Identifier: Apache-2.0
-- Slots: who may have one more VM. A VM holds one slot while a run of it is open or a reservation
-- for it lives; the counts of an account stand in its row of quota, which is also the account's
-- lock. docs/quota.md tells the protocol.

CREATE TABLE quota (
    account  text COLLATE "C" PRIMARY KEY,
    running  integer NOT NULL DEFAULT 0,
    reserved integer NOT NULL DEFAULT 0,
    version  bigint NOT NULL DEFAULT 0,
    look_at  timestamptz,
    lapse_at timestamptz,
    exceeded boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);
COMMENT ON TABLE quota IS 'An account''s slots, counted; the row is locked by whoever changes who holds one.';
COMMENT ON COLUMN quota.running IS 'VMs with an open run that counts: all but those in uncounted.';
COMMENT ON COLUMN quota.reserved IS 'Reservations of VMs without such a run. Slots in use are the sum of both.';
COMMENT ON COLUMN quota.version IS 'Rises with all that changes the account''s usage otherwise than by time.';
COMMENT ON COLUMN quota.look_at IS 'While the horizon has not passed this, no run under watch is lost; NULL: none is under watch.';
COMMENT ON COLUMN quota.lapse_at IS 'While progress has not passed this, no reservation and no vouch lapses; NULL: there is none.';
COMMENT ON COLUMN quota.exceeded IS 'More slots were in use than the limit when the collector last counted; others have been told.';

CREATE TABLE reservation (
    account     text COLLATE "C" NOT NULL,
    vm          text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    size        text COLLATE "C" NOT NULL,
    reserved_at timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    starts_from timestamptz NOT NULL,
    lapses_at   timestamptz NOT NULL,
    PRIMARY KEY (account, vm)
) WITH (fillfactor = 60);
COMMENT ON TABLE reservation IS 'Reservations that live. Written and deleted under the lock of the account''s row in quota.';
COMMENT ON COLUMN reservation.starts_from IS 'A start that names no reservation uses this one where its time is not before: reserved_at less the clocks'' skew.';
COMMENT ON COLUMN reservation.lapses_at IS 'Expired when progress has passed this: expires_at and the event delay.';

CREATE TABLE uncounted (
    account text COLLATE "C" NOT NULL,
    vm      text COLLATE "C" NOT NULL,
    why     smallint NOT NULL CHECK (why IN (0, 1)),
    since   timestamptz NOT NULL,
    starts_from timestamptz,
    until   timestamptz,
    PRIMARY KEY (account, vm),
    CHECK ((why = 0) = (until IS NOT NULL) AND (why = 0) = (starts_from IS NOT NULL))
);
COMMENT ON TABLE uncounted IS 'VMs whose open run holds no slot, for a while.';
COMMENT ON COLUMN uncounted.why IS '0 the orchestrator vouches that the VM has stopped, 1 no proof of life came in time';
COMMENT ON COLUMN uncounted.since IS 'The call; or the horizon at which the VM was found to be lost.';
COMMENT ON COLUMN uncounted.starts_from IS 'Of a vouch: a start that is metered later ends it where its time is not before: the call less the clocks'' skew.';
COMMENT ON COLUMN uncounted.until IS 'Of a vouch: the run counts again when progress has passed this and no end was metered.';

CREATE TABLE doubt (
    account text COLLATE "C" NOT NULL,
    vm      text COLLATE "C" NOT NULL,
    until   timestamptz,
    PRIMARY KEY (account, vm)
);
COMMENT ON TABLE doubt IS 'VMs that count without holding a slot that was granted, or may come to: their slot was given away before.';
COMMENT ON COLUMN doubt.until IS 'A reservation was given back: starts from before are metered when progress has passed this. NULL: the VM counts so.';

CREATE TABLE released (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     text COLLATE "C" NOT NULL,
    vm          text COLLATE "C" NOT NULL,
    released_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    released_by text NOT NULL DEFAULT session_user,
    reason      text NOT NULL,
    reservation text COLLATE "C",
    ran         boolean NOT NULL
);
COMMENT ON TABLE released IS 'Slots that were released by hand, and why.';

CREATE TABLE instance (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    identity    text NOT NULL,
    restored_at timestamptz
);
COMMENT ON TABLE instance IS 'One row: which database this is. A restored one has another identity than its row says.';
COMMENT ON COLUMN instance.restored_at IS 'Reservations made before may be lost: none is granted until progress has passed this and the event delay.';

-- Every account has its row.
CREATE FUNCTION quota_row() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO quota (account) VALUES (NEW.account) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER quota_row AFTER INSERT ON account FOR EACH ROW EXECUTE FUNCTION quota_row();

LOCK TABLE vm IN SHARE MODE; -- what collectors write meanwhile is counted after this
INSERT INTO quota (account, running, look_at)
SELECT a.account, count(v.vm), CASE WHEN count(v.proof_at) > 0 THEN '2000-01-01'::timestamptz END
FROM account a LEFT JOIN vm v ON v.account = a.account AND v.phase = 1
GROUP BY a.account;
