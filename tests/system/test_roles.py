# SPDX-License-Identifier: Apache-2.0
"""Who may do what in the database, by PostgreSQL's own word: what each role may not do is refused,
nobody changes what was issued, and customers have a wall of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from harness import LOGINS, MIGRATES, Postgres, World, expect, expect_same, test
from serving import serve
from small import ACCOUNT, OTHER, accounts, events, furnish, invoice_of, last_period

ISSUED = ("invoice", "invoice_line", "grant_draw", "carried_grant", "closed_again")

# What each role has to do, from what its commands are for: r reads (some columns), + inserts,
# - deletes; then the columns that it may update (*: all).
EVERYBODYS = dict.fromkeys(
    "account account_history carried_grant catalog closed_again closing event grant_draw invoice invoice_line origin"
    " position quota reservation run schema_migration state uncounted usage_day vm".split(), "r",
)
SLOTS = {
    "doubt": "r+- until",
    "instance": "r+ identity restored_at",
    "notice": "r+- published_at",
    "noticed": "r+-",
    "quota": "r exceeded lapse_at look_at reserved running version",
    "uncounted": "r+- since starts_from until why",
    "watched": "r+ account_revision catalog_revision due_at version",
}
MAY: dict[str, dict[str, str]] = {
    "collector": EVERYBODYS | SLOTS | {
        "dead_letter": "r+ detail reason state state_at",
        "event": "r+",
        "origin": "r+",
        "position": "r+ epoch last_at last_hash last_offset next_offset progress",
        "reservation": "r-",
        "run": "r+-",
        "state": "r one",
        "unsettled": "r+",
        "usage_day": "r+ minutes",
        "vm": "r+ last_at listed nth pending phase proof_at run sizes started_at version",
    },
    "service": EVERYBODYS | SLOTS | {
        "dead_letter": "r(account at origin position reason state vm)",
        "released": "+",
        "reservation": "r+- expires_at id lapses_at reserved_at size starts_from",
        "token": "r",
        "unsettled": "r",
        "vm": "r locked",
    },
    "finance": EVERYBODYS | dict.fromkeys(("dead_letter", "doubt", "instance", "released", "watched"), "r") | {
        "account": "r+ applied_at content revision",
        "account_history": "r+",
        "carried_grant": "r+",
        "catalog": "r+",
        "chain": "r hash place",
        "closed_again": "r+",
        "closing": "r+ *",
        "grant_draw": "r+",
        "invoice": "r+",
        "invoice_line": "r+",
        "notice": "r+",
        "noticed": "r+",
        "quota": "r+",
        "series": "r+ last",
        "state": "r catalog_revision",
        "token": "r(account created_at created_by expires_at id note revoked_at role)+ revoked_at",
        "unsettled": "r+-",
    },
    "tally_customer": dict.fromkeys(("catalog", "closing", "origin", "position", "state"), "r"),
}

# Tries everything on every table, and undoes it; what PostgreSQL answers but "may not" is a yes.
TRY = """
DO $$
DECLARE
    t regclass;
    columns text[];
    may text;
    reads text[];
    updates text[];
    tried text;
BEGIN
    FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP
        columns := ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = t AND attnum > 0 AND NOT attisdropped
                         ORDER BY attname COLLATE "C");
        may := '';
        reads := '{}';
        updates := '{}';
        FOREACH tried IN ARRAY ARRAY['+', '-', 't', '!'] || columns LOOP
            BEGIN
                EXECUTE CASE tried
                    WHEN '+' THEN format('INSERT INTO %s DEFAULT VALUES', t)
                    WHEN '-' THEN format('DELETE FROM %s', t)
                    WHEN 't' THEN format('TRUNCATE %s', t)
                    WHEN '!' THEN format('ALTER TABLE %s DISABLE TRIGGER ALL', t)
                    ELSE format('UPDATE %s SET %I = DEFAULT', t, tried) END;
                RAISE EXCEPTION 'undone';
            EXCEPTION
                WHEN insufficient_privilege THEN NULL;
                WHEN OTHERS THEN
                    IF tried = ANY (columns) THEN updates := updates || tried; ELSE may := may || tried; END IF;
            END;
            CONTINUE WHEN tried <> ALL (columns);
            BEGIN
                EXECUTE format('SELECT %I FROM %s LIMIT 0', tried, t);
                reads := reads || tried;
            EXCEPTION WHEN insufficient_privilege THEN NULL;
            END;
        END LOOP;
        may := CASE WHEN reads @> columns THEN 'r' WHEN reads <> '{}' THEN format('r(%s)', array_to_string(reads, ' '))
                    ELSE '' END || may;
        may := may || CASE WHEN updates @> columns THEN ' *' WHEN updates <> '{}'
                           THEN ' ' || array_to_string(updates, ' ') ELSE '' END;
        IF may <> '' THEN RAISE INFO '% %', trim('"' FROM t::text), may; END IF;
    END LOOP;
END
$$;
"""


def asked(postgres: Postgres, database: str, login: str, sql: str) -> subprocess.CompletedProcess[str]:
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", postgres.url(database, login), "-c", sql]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answer(world: World, login: str, sql: str) -> str:
    ran = asked(world.postgres, world.database, login, sql)
    expect_same(0, ran.returncode, f"exit of {login}'s {sql}\n{ran.stderr}")
    return ran.stdout.rstrip("\n")


def refused(world: World, login: str, sql: str, why: str) -> None:
    ran = asked(world.postgres, world.database, login, sql)
    expect(ran.returncode != 0 and why in ran.stderr, f"{login}'s {sql} is refused ({why}): {ran}")


def allowed(world: World, login: str, before: str = "") -> dict[str, str]:
    ran = asked(world.postgres, world.database, login, before + TRY)
    expect_same(0, ran.returncode, f"exit of {login}'s tries\n{ran.stderr}")
    lines = [line.removeprefix("INFO:  ") for line in ran.stderr.splitlines() if line.startswith("INFO:")]
    return dict(line.removeprefix("public.").split(" ", 1) for line in lines)


@test("each role may do what its commands do, and PostgreSQL refuses it everything else")
def roles_may(world: World) -> None:
    furnish(world)
    for login in ("collector", "service", "finance"):
        expect_same(MAY[login], allowed(world, login), f"what {login} may")
    expect_same(MAY["tally_customer"], allowed(world, "service", "SET ROLE tally_customer;"),
                "what who acts as a customer may on the tables themselves")
    for login in LOGINS:
        refused(world, login, "CREATE TABLE public.mine ()", "permission denied for schema")
        refused(world, login, "SET ROLE tally_owner", "permission denied to set role")
        refused(world, login, "SELECT customers_see('token')", "permission denied for function")
    for login in ("collector", "finance", "operator"):
        refused(world, login, "SELECT act_as_customer('acme')", "permission denied for function")
    nobody = "SELECT count(*) FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a" \
             " WHERE pronamespace = 'public'::regnamespace AND a.grantee = 0"
    expect_same("0", world.psql(nobody), "functions that just anybody may call")
    world.psql("CREATE ROLE stranger LOGIN")
    expect_same({}, allowed(world, "stranger"), "what a login without a role may")


@test("what was issued is changed by nobody: roles may not, and the owner is refused as well")
def roles_issued(world: World) -> None:
    furnish(world)
    kept = {table: world.psql(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ISSUED}
    expect(kept["invoice"] and kept["invoice_line"] and kept["grant_draw"], "something was issued")
    for table in ISSUED:
        for sql in (f"UPDATE {table} SET account = 'x'", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            for login in LOGINS:
                refused(world, login, sql, "permission denied for table")
            refused(world, MIGRATES, sql, "what was issued never changes")
            refused(world, "postgres", f"SET session_replication_role = replica; {sql}",
                    "what was issued never changes")
        for login in LOGINS:
            refused(world, login, f"ALTER TABLE {table} DISABLE TRIGGER never_change", "must be owner")
    expect_same(kept, {t: world.psql(f"SELECT * FROM {t} ORDER BY 1, 2") for t in ISSUED}, "rows")


# ---- customers ----

SEEN = ("account", "account_history", "event", "grant_draw", "invoice", "invoice_line", "quota", "run",
        "usage_day", "vm")


def two_customers(world: World) -> None:
    """Both have of everything."""
    content = accounts()
    for account in content["accounts"]:
        account["grants"] = [{"id": "goodwill", "unit": "usd", "amount": "25.00", "from": "2020-01-01"}]
    world.tally("accounts", "apply", world.write("accounts.json", content))
    world.tally("meter", "--file", world.write("events.ndjson", events()))
    world.tally("invoices", "close", "--period", last_period(), "--force")


def owners(table: str) -> str:
    """A statement that forgot to ask whose rows they are."""
    return f"(SELECT string_agg(DISTINCT account, ' ' ORDER BY account) FROM {table})"


@test("a statement that forgot its condition shows a customer its own rows alone, and none where it"
      " is not said who it is")
def roles_customer(world: World) -> None:
    two_customers(world)
    for table in SEEN:
        everybody = answer(world, "service", f"SELECT {owners(table)}").split(" ")
        expect({ACCOUNT, OTHER} <= set(everybody), f"{table} has rows of both: {everybody}")
        for account in (ACCOUNT, OTHER):
            seen = answer(world, "service", f"BEGIN; SELECT act_as_customer('{account}'); SELECT {owners(table)}")
            expect_same(account, seen.strip(), f"whose rows of {table} {account} sees")
        unset = "BEGIN; SET LOCAL ROLE tally_customer; SET LOCAL search_path = public_customer, public;"
        expect_same("0", answer(world, "service", f"{unset} SELECT count(*) FROM {table}"), f"of {table}, unset")
        refused(world, "service", f"{unset} SELECT FROM public.{table}", "permission denied for table")
    views = world.psql("SELECT relname FROM pg_class WHERE relnamespace = 'public_customer'::regnamespace")
    # nobody has a row of these here
    expect_same(sorted((*SEEN, "carried_grant", "closed_again", "dead_letter", "uncounted", "unsettled")), sorted(views.split()), "views")
    acting = f"BEGIN; SELECT act_as_customer('{ACCOUNT}');"
    for table in ("token", "notice", "chain", "reservation"):
        refused(world, "service", f"{acting} SELECT FROM {table}", "permission denied for table")
    for sql in ("DELETE FROM run", "UPDATE quota SET running = 0", "INSERT INTO run SELECT * FROM run",
                "SELECT customers_see('token')"):
        refused(world, "service", f"{acting} {sql}", "permission denied")
    after = answer(world, "service", f"{acting} COMMIT; SELECT current_user, current_setting('tally.customer')")
    expect_same("service|", after.splitlines()[-1], "who it is when the transaction is over")


@test("plans of prepared statements do not outlive who they were made for: customers and finance"
      " take turns on one connection")
def roles_plans(world: World) -> None:
    two_customers(world)
    for mode in ("force_generic_plan", "auto"):
        lines, expected = [f"SET plan_cache_mode = {mode}; PREPARE q AS SELECT {owners('run')};"], []
        everybody = answer(world, "service", f"SELECT {owners('run')}")
        for turn in range(24):
            account = (None, ACCOUNT, OTHER)[turn % 3]
            act = f"SELECT act_as_customer('{account}');" if account else ""
            lines.append(f"BEGIN; {act} EXECUTE q; COMMIT;")
            expected.append(account or everybody)
        said = answer(world, "service", "\n".join(lines)).split("\n")
        expect_same(expected, [line for line in said if line], f"answers ({mode})")


@test("whatever a customer reads over HTTP comes through its wall; one reader serves customers and"
      " finance in turn")
def roles_http(world: World) -> None:
    two_customers(world)
    number = {account: invoice_of(world, account) for account in (ACCOUNT, OTHER)}
    with serve(world, "--readers", "1") as server:
        clients = {a: server.client("customer", a) for a in (ACCOUNT, OTHER)}
        finance = server.client("finance")

        def paths(account: str) -> list[str]:
            routes = ("usage", "usage?window=total&group_by=vm", "runs", "runs?vm=k3x9qa", "credits",
                      "invoices", "invoices/upcoming")
            invoice = f"/v1/invoices/{number[account]}"
            return [f"/v1/accounts/{account}/{route}" for route in routes] + [invoice, f"{invoice}/explain"]

        for turn in range(3):
            for account, client in clients.items():
                for path in paths(account):
                    seen, own = finance.get(path), client.get(path)
                    expect_same((200, 200), (seen.status, own.status), f"{path}, turn {turn}: {own}")
                    expect_same(still(seen.json), still(own.json), f"{path}, turn {turn}")
        # From now on the wall takes everybody for nobody: customers' requests notice, and no others.
        before = {a: [still(finance.get(path).json) for path in paths(a)] for a in clients}
        world.psql("CREATE OR REPLACE FUNCTION act_as_customer(customer text) RETURNS void LANGUAGE sql AS"
                   " $$ SELECT set_config('tally.customer', 'nobody', true), set_config('role',"
                   " 'tally_customer', true), set_config('search_path', 'public_customer, public', true) $$")
        for account, client in clients.items():
            for path in paths(account):
                expect_same(404, client.get(path).status, f"{path}, to nobody")
            after = [still(finance.get(path).json) for path in paths(account)]
            expect_same(before[account], after, f"what finance sees of {account}")


def still(answer: Any) -> Any:
    """But for what passes with time: an invoice as it would be now, and how far data reach."""
    if isinstance(answer, dict):
        passing = ("data_through", "run_out_at", "horizon")
        return {key: still(value) for key, value in answer.items() if key not in passing}
    return [still(value) for value in answer] if isinstance(answer, list) else answer


# ---- without all that, and before it ----


def tally_as(world: World, database: str, login: str) -> dict[str, str]:
    return {"TALLY_DATABASE_URL": world.postgres.url(database, login)}


@test("one login for everything, which owns the database and may make roles, is enough to begin with")
def roles_one_login(world: World) -> None:
    world.psql("CREATE ROLE everything LOGIN CREATEROLE")
    world.psql(f"CREATE DATABASE {world.database}_one OWNER everything TEMPLATE template0")
    world.database += "_one"
    world.environment = tally_as(world, world.database, "everything")
    world.tally("migrate")
    two_customers(world)
    number = invoice_of(world, ACCOUNT)
    with serve(world) as server:
        client = server.client("customer", ACCOUNT)
        for path in (f"/v1/accounts/{ACCOUNT}/usage", f"/v1/accounts/{ACCOUNT}/quota", f"/v1/invoices/{number}"):
            expect_same(200, client.get(path).status, path)
        expect_same(201, server.client("orchestrator").reserve(ACCOUNT, "new").status, "status of a reservation")
    expect_same(accounts()["accounts"][0]["id"], json.loads(
        world.tally("invoices", "show", number, "--format", "json").stdout)["account"], "whose invoice it is")
    refused(world, "everything", "UPDATE invoice SET name = 'x'", "what was issued never changes")


def bare_server(world: World) -> Iterator[Postgres]:
    server = Postgres(world.folder / "bare")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@test("who may not make the roles is told what an administrator has to run, and that is enough; several"
      " databases of a server migrate at once", seconds=120)
def roles_made(world: World) -> None:
    for server in bare_server(world):
        world.postgres = server
        server.psql("postgres", "CREATE ROLE plain LOGIN")
        server.psql("postgres", "CREATE DATABASE plain OWNER plain")
        ran = world.tally("migrate", env=tally_as(world, "plain", "plain"), exit=1)
        expect("CREATE ROLE tally_owner" in ran.stderr, f"it says what to run\n{ran}")
        server.psql("plain", ran.stderr.split("migrate again: ")[1].strip())
        world.tally("migrate", env=tally_as(world, "plain", "plain"))
        ran = world.tally("migrate", env=tally_as(world, "plain", "plain"))
        expect("up to date" in ran.stderr, str(ran))
    # Once more on a new server, where everybody finds the roles missing.
    world.folder = world.folder / "again"
    world.folder.mkdir()
    for server in bare_server(world):
        world.postgres = server
        names = [f"d{n}" for n in range(6)]
        for name in names:
            server.psql("postgres", f"CREATE ROLE {name} LOGIN CREATEROLE")
            server.psql("postgres", f"CREATE DATABASE {name} OWNER {name}")
        started = [world.start("migrate", env=tally_as(world, name, name)) for name in names * 2]
        for process in started:
            _, stderr = process.communicate(timeout=60)
            expect_same(0, process.returncode, f"exit of migrations at once ({stderr.decode()})")
        for name in names:
            owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relkind IN ('r', 'S', 'v')" \
                     " AND relnamespace::regnamespace::text LIKE 'public%'"
            expect_same("tally_owner", server.psql(name, owners), f"who owns what is in {name}")


@test("a later migration goes on as the owner: whoever is a member may migrate, and shows customers"
      " more")
def roles_later(world: World) -> None:
    two_customers(world)
    world.psql("CREATE ROLE heir LOGIN IN ROLE tally_owner")
    world.tally("migrate", env=tally_as(world, world.database, "heir"))
    answer(world, "heir", "BEGIN; SET LOCAL ROLE tally_owner; ALTER TABLE run ADD COLUMN later integer;"
                          " CREATE TABLE more (account text, n integer); GRANT INSERT ON more TO tally_collector;"
                          " SELECT customers_see('run'), customers_see('more'); COMMIT")
    answer(world, "collector", f"INSERT INTO more VALUES ('{ACCOUNT}', 1), ('{OTHER}', 2)")
    acting = f"BEGIN; SELECT act_as_customer('{OTHER}');"
    expect_same("2", answer(world, "service", f"{acting} SELECT n FROM more").strip(), "what a customer sees")
    expect_same("0", answer(world, "service", f"{acting} SELECT count(later) FROM run").strip(), "a new column")
    refused(world, "service", "SELECT FROM more", "permission denied for table")
    expect_same("tally_owner", world.psql("SELECT tableowner FROM pg_tables WHERE tablename = 'more'"), "its owner")
