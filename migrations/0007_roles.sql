-- SPDX-License-Identifier: Apache-2.0
-- Who may do what. Roles without a login, of which logins are made members (docs/operations.md). They
-- belong to the whole server and may be there already. What there is becomes tally_owner's, as whom
-- later migrations run; each grants what it adds.

DO $$
DECLARE
    here   text := current_schema;
    needed text[] := ARRAY['tally_owner', 'tally_collector', 'tally_service', 'tally_finance', 'tally_customer'];
    -- what somebody else would have to run
    to_do  text := (SELECT coalesce(string_agg(format('CREATE ROLE %I; ', name), ''), '') FROM unnest(needed) AS name
                    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name))
                || format('GRANT tally_customer TO tally_owner, tally_service; GRANT tally_owner TO %1$I; '
                          'GRANT CREATE ON DATABASE %2$I TO %1$I; GRANT ALL ON SCHEMA %3$I TO %1$I WITH GRANT OPTION',
                          current_user, current_database(), here);
    name   text;
BEGIN
    -- Other databases of the server may be at the same just now: what is there by then is right.
    FOREACH name IN ARRAY needed LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = name);
        BEGIN
            EXECUTE format('CREATE ROLE %I', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
    FOREACH name IN ARRAY ARRAY['tally_owner', 'tally_service'] LOOP
        CONTINUE WHEN pg_has_role(name, 'tally_customer', 'MEMBER');
        BEGIN
            EXECUTE format('GRANT tally_customer TO %I', name);
        EXCEPTION WHEN unique_violation THEN NULL;
        END;
    END LOOP;
    IF NOT pg_has_role(current_user, 'tally_owner', 'USAGE') THEN
        BEGIN
            EXECUTE format('GRANT tally_owner TO %I', current_user);
        EXCEPTION WHEN unique_violation THEN NULL;
        END;
    END IF;

    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO tally_owner', here);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tally_collector, tally_service, tally_finance, tally_customer', here);
    EXECUTE format('CREATE SCHEMA %I AUTHORIZATION tally_owner', here || '_customer');
    FOREACH name IN ARRAY ARRAY[
        'account', 'account_history', 'carried_grant', 'catalog', 'chain', 'closing', 'dead_letter', 'doubt', 'event',
        'grant_draw', 'instance', 'invoice', 'invoice_line', 'notice', 'noticed', 'origin', 'position', 'quota',
        'released', 'reservation', 'run', 'schema_migration', 'series', 'state', 'token', 'uncounted', 'unsettled',
        'usage_day', 'vm', 'watched'] LOOP
        EXECUTE format('ALTER TABLE %I OWNER TO tally_owner', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['quota_row', 'refuse_change', 'refuse_reopening'] LOOP
        EXECUTE format('ALTER FUNCTION %I() OWNER TO tally_owner', name);
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION '% may not make the roles that tally needs: %', current_user, SQLERRM
        USING ERRCODE = 'insufficient_privilege',
              DETAIL = 'have an administrator run this once in the database, then migrate again: ' || to_do;
END
$$;

SET LOCAL ROLE tally_owner;
REVOKE EXECUTE ON FUNCTION quota_row(), refuse_change(), refuse_reopening() FROM PUBLIC;

-- ---- what all of us read ----
GRANT SELECT ON account, account_history, carried_grant, catalog, closing, event, grant_draw, invoice, invoice_line,
    origin, position, quota, reservation, run, schema_migration, state, uncounted, usage_day, vm
    TO tally_collector, tally_service, tally_finance;

-- ---- what collectors write, and servers: both tell notices, and follow who holds a slot ----
GRANT SELECT, INSERT, DELETE, UPDATE (until) ON doubt TO tally_collector, tally_service;
GRANT SELECT, INSERT, UPDATE (identity, restored_at) ON instance TO tally_collector, tally_service;
GRANT SELECT, INSERT, DELETE, UPDATE (published_at) ON notice TO tally_collector, tally_service;
GRANT SELECT, INSERT, DELETE ON noticed TO tally_collector, tally_service;
GRANT UPDATE (running, reserved, version, look_at, lapse_at, exceeded) ON quota TO tally_collector, tally_service;
GRANT INSERT, DELETE, UPDATE (why, since, starts_from, until) ON uncounted TO tally_collector, tally_service;
GRANT SELECT, INSERT, UPDATE (version, account_revision, catalog_revision, due_at) ON watched
    TO tally_collector, tally_service;

-- ---- collectors ----
-- Whoever locks rows needs UPDATE on some column: here on one that has a single value.
GRANT UPDATE (one) ON state TO tally_collector;
GRANT INSERT ON origin, event TO tally_collector;
GRANT INSERT, UPDATE (epoch, next_offset, last_offset, last_hash, last_at, progress) ON position TO tally_collector;
GRANT INSERT, UPDATE (version, last_at, phase, started_at, nth, run, sizes, proof_at, pending, listed) ON vm
    TO tally_collector;
GRANT INSERT, DELETE ON run TO tally_collector;
GRANT INSERT, UPDATE (minutes) ON usage_day TO tally_collector;
GRANT SELECT, INSERT, UPDATE (reason, detail, state, state_at) ON dead_letter TO tally_collector;
GRANT DELETE ON reservation TO tally_collector;
GRANT SELECT, INSERT ON unsettled TO tally_collector;

-- ---- servers ----
GRANT INSERT, DELETE, UPDATE (id, size, reserved_at, expires_at, starts_from, lapses_at) ON reservation
    TO tally_service;
GRANT INSERT ON released TO tally_service;
GRANT SELECT ON token, unsettled TO tally_service;
GRANT SELECT (account, vm, at, reason, state, origin, position) ON dead_letter TO tally_service; -- not what they hold
ALTER TABLE vm ADD COLUMN locked boolean CHECK (locked IS NULL);
COMMENT ON COLUMN vm.locked IS 'Always NULL. Who may lock a VM and not change it has UPDATE on this column.';
GRANT UPDATE (locked) ON vm TO tally_service;

-- ---- finance: terms and prices, invoices, tokens; reads all but the tokens' hashes ----
GRANT SELECT ON chain, dead_letter, doubt, instance, notice, noticed, released, series, unsettled, watched
    TO tally_finance;
GRANT SELECT (id, role, account, note, created_at, created_by, expires_at, revoked_at), INSERT, UPDATE (revoked_at)
    ON token TO tally_finance;
GRANT INSERT ON catalog, account_history, quota TO tally_finance;
GRANT UPDATE (catalog_revision) ON state TO tally_finance;
GRANT INSERT, UPDATE (revision, applied_at, content) ON account TO tally_finance;
GRANT INSERT ON invoice, invoice_line, grant_draw, carried_grant TO tally_finance;
GRANT INSERT, UPDATE ON closing TO tally_finance; -- whole: it is locked as a table
GRANT INSERT, UPDATE (last) ON series TO tally_finance;
GRANT UPDATE (place, hash) ON chain TO tally_finance;
GRANT INSERT, DELETE ON unsettled TO tally_finance;
GRANT INSERT ON notice, noticed TO tally_finance;

-- ---- customers ----
-- The second wall, behind the conditions of our statements: who acts as a customer reads views of its
-- own rows, which go by the tables' names and come before them in the search path. Not row level
-- security: under that PostgreSQL refuses COPY, by which rows are written. The views are no security
-- barriers: they stand between us and a condition that was forgotten, and cost nothing.
GRANT SELECT ON catalog, closing, origin, position, state TO tally_customer;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO tally_customer', current_schema || '_customer'); END $$;

CREATE FUNCTION customers_see(name text, columns text DEFAULT '*') RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    there text := current_schema || '_customer';
BEGIN
    EXECUTE format('CREATE OR REPLACE VIEW %I.%I AS SELECT %s FROM %2$I WHERE account = current_setting(%4$L, true)',
                   there, name, columns, 'tally.customer');
    EXECUTE format('GRANT SELECT ON %I.%I TO tally_customer', there, name);
END
$$;
COMMENT ON FUNCTION customers_see(text, text) IS 'For migrations: shows customers their rows of a table. '
    'Again after columns were added; a column that the view shows can be changed after DROP VIEW.';
SELECT customers_see(name)
FROM unnest(ARRAY['account', 'account_history', 'carried_grant', 'event', 'grant_draw', 'invoice', 'invoice_line',
                  'quota', 'run', 'uncounted', 'unsettled', 'usage_day', 'vm']) AS name;
SELECT customers_see('dead_letter', 'account, vm, at, reason, state, origin, position');

DO $$
BEGIN
    EXECUTE format($function$
        CREATE FUNCTION act_as_customer(customer text) RETURNS void LANGUAGE sql AS $body$
            SELECT set_config('tally.customer', customer, true), set_config('search_path', %L, true),
                   set_config('role', 'tally_customer', true)
        $body$ $function$, format('%I, %I', current_schema || '_customer', current_schema));
END
$$;
COMMENT ON FUNCTION act_as_customer(text) IS 'For the rest of the transaction: what this account may see, and no more.';
REVOKE EXECUTE ON FUNCTION customers_see(text, text), act_as_customer(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION act_as_customer(text) TO tally_service;
