# SPDX-License-Identifier: Apache-2.0
"""Books with something of everything in them, every way in which a row can be changed behind tally's
back, and how the audit tells."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from billing import apply, close, meter
from chain import hash_of
from harness import Failed, Ran, World
from histories import iso
from oracle import DEFAULT_CATALOG, instant_of

AUDIT_AT = instant_of("2027-02-02T00:00:00Z")

# ---- the books ----


def subscription(plan: str | None, start: str, **overrides: Any) -> dict[str, Any]:
    return {"plan": plan, "from": start, **({"overrides": overrides} if overrides else {})}


def account(id: str, *subscriptions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": id, "name": f"{id} GmbH", "subscriptions": list(subscriptions), **more}


ACCOUNTS = [
    # Is never billed anything.
    account("aaa", subscription("enterprise", "2026-09-01")),
    # All terms, changes of plan, all kinds of grants.
    account(
        "acme",
        subscription("scale", "2026-09-10"),
        subscription("enterprise", "2026-10-10", base_fee="20.00", credit_discount_bps=1500,
                     included_credits=300, monthly_minimum="900.00"),
        tax_rate_bps=1900,
        grants=[
            {"id": "promo", "unit": "credit", "amount": "600", "priority": 1, "from": "2026-09-01"},
            {"id": "short", "unit": "credit", "amount": "5000", "from": "2026-09-01",
             "expires": "2026-09-20"},
            {"id": "goodwill", "unit": "usd", "amount": "25.00", "from": "2026-09-01"},
            {"id": "later", "unit": "usd", "amount": "40.00", "from": "2026-10-01",
             "expires": "2026-12-01"},
        ],
    ),
    # A sign-up credit.
    account("beta", subscription("build", "2026-09-05"), tax_rate_bps=700),
    # Much of what it was billed for is taken back later: something is carried forward.
    account("carl", subscription("enterprise", "2026-09-01"), tax_rate_bps=1900,
            grants=[{"id": "gift", "unit": "credit", "amount": "5", "from": "2026-09-01",
                     "expires": "2027-02-01"}]),
    # An invoice is voided and billed anew, and credit grants are drawn anew.
    account("dora", subscription("scale", "2026-09-01"), tax_rate_bps=500,
            grants=[{"id": "promo", "unit": "credit", "amount": "700", "from": "2026-09-01"},
                    {"id": "spare", "unit": "credit", "amount": "3000", "from": "2026-10-01"}]),
    # Ends.
    account("emma", subscription("pro", "2026-09-01"), subscription(None, "2026-12-11")),
    # Nothing is left of what an invoice that was voided was for.
    account("fred", subscription("enterprise", "2026-09-01")),
    # The same, and something comes late for it.
    account("gina", subscription("enterprise", "2026-09-01"), tax_rate_bps=700),
    # A period stays open again.
    account("hans", subscription("enterprise", "2026-09-01")),
]


def catalog() -> dict[str, Any]:
    """A price and a size that change in the middle of a month."""
    document = copy.deepcopy(DEFAULT_CATALOG)
    version = copy.deepcopy(document["versions"][-1]) | {"from": "2026-10-16", "credit_price": "0.0175"}
    version["sizes"]["large"]["credits_per_hour"] = 170
    document["versions"].append(version)
    return document


def event(kind: str, account: str, time: str, vm: str = "vm", **data: Any) -> bytes:
    return json.dumps({
        "specversion": "1.0", "id": f"{vm} {kind} {time}", "source": "/s", "type": f"vm.{kind}",
        "subject": vm, "time": f"{time}:00Z", "data": {"account": account, **data},
    }).encode()


def ran(account: str, start: str, end: str, size: str = "large", vm: str = "vm") -> list[bytes]:
    return [event("started", account, start, vm, size=size), event("stopped", account, end, vm)]


def retracted(account: str, kind: str, time: str, vm: str = "vm") -> bytes:
    return event("retracted", account, time, vm, **{"source": "/s", "id": f"{vm} {kind} {time}"})


SEPTEMBER = [
    *ran("acme", "2026-09-12T08:00", "2026-09-15T20:07"),
    *ran("acme", "2026-09-22T00:00", "2026-09-24T00:30", "nano", "second"),
    *ran("beta", "2026-09-06T00:00", "2026-09-20T00:00", "xlarge"),
    *ran("carl", "2026-09-02T00:00", "2026-09-20T00:00", "large"),
    *ran("carl", "2026-09-25T00:00", "2026-09-26T00:00", "pico", "small"),
    *ran("dora", "2026-09-03T00:00", "2026-09-14T09:10", "large"),
    *ran("emma", "2026-09-29T00:00", "2026-10-02T00:00", "medium"),
    *ran("fred", "2026-09-10T00:00", "2026-09-11T00:00", "large"),
    *ran("gina", "2026-09-10T00:00", "2026-09-12T00:00", "large"),
    *ran("hans", "2026-09-10T00:00", "2026-09-13T00:00", "large"),
]
BY_MISTAKE = [
    retracted("fred", "started", "2026-09-10T00:00"),
    retracted("gina", "started", "2026-09-10T00:00"),
]
OCTOBER = [
    *ran("acme", "2026-10-05T00:00", "2026-10-20T00:00", "large"),
    *ran("beta", "2026-10-14T10:00", "2026-10-17T12:00", "large"),
    *ran("carl", "2026-10-10T00:00", "2026-10-10T10:00", "small"),
    *ran("dora", "2026-10-01T00:00", "2026-10-09T00:00", "large"),
]
LATE = [  # in November, for September and October
    *ran("acme", "2026-09-27T00:00", "2026-09-28T12:00", "medium", "late"),
    retracted("carl", "started", "2026-09-02T00:00"),
    *ran("dora", "2026-09-29T00:00", "2026-09-30T12:00", "large", "late"),
    *ran("gina", "2026-09-20T00:00", "2026-09-21T00:00", "micro", "late"),
]
NOVEMBER = [
    *ran("acme", "2026-11-02T00:00", "2026-11-12T00:00", "large"),
    *ran("carl", "2026-11-10T00:00", "2026-11-11T10:00", "small"),
]
DECEMBER = [
    *ran("acme", "2026-12-02T00:00", "2026-12-03T00:00", "xlarge"),
    retracted("acme", "started", "2026-09-12T08:00"),  # what it drew from grants goes back
    *ran("beta", "2026-12-02T00:00", "2026-12-03T00:00", "xlarge"),
    *ran("carl", "2026-12-10T00:00", "2026-12-11T10:00", "small"),
    *ran("carl", "2026-11-20T00:00", "2026-11-21T00:00", "micro", "late"),
]


def void(world: World, account: str, period: str, at: int) -> None:
    number = world.psql(
        f"SELECT max(number) FROM invoice i WHERE account = '{account}' AND kind = 0"
        f" AND period = '{period}-01'"
    )
    world.tally("invoices", "void", number, "--reason", "wrong address", "--as-of", iso(at))


def books_world(world: World) -> None:
    """Four months closed, and the closing of a fifth under way."""
    def at(text: str) -> int:
        return instant_of(f"{text}:00:00Z")

    apply(world, {"accounts": ACCOUNTS}, catalog())
    meter(world, "september", SEPTEMBER, at("2026-10-02T00"))
    close(world, "2026-09", at("2026-10-02T00"))
    void(world, "dora", "2026-09", at("2026-10-03T00"))
    void(world, "beta", "2026-09", at("2026-10-03T01"))
    close(world, "2026-09", at("2026-10-03T02"), "--account", "beta")
    for name in ("fred", "gina", "hans"):
        void(world, name, "2026-09", at("2026-10-03T03"))
    meter(world, "mistake", BY_MISTAKE, at("2026-10-03T04"))
    close(world, "2026-09", at("2026-10-03T05"), "--account", "fred")
    close(world, "2026-09", at("2026-10-03T05"), "--account", "gina")
    meter(world, "october", OCTOBER, at("2026-11-02T00"))
    close(world, "2026-10", at("2026-11-02T00"))
    meter(world, "late", LATE, at("2026-11-03T00"))
    close(world, "2026-09", at("2026-11-04T00"), "--account", "dora")
    named = copy.deepcopy(ACCOUNTS[1]) | {"name": "Acme Holding", "tax_rate_bps": 700}
    world.tally("accounts", "apply", world.write("named.json", {"accounts": [named]}), "--retroactive")
    meter(world, "november", NOVEMBER, at("2026-12-02T00"))
    newer = catalog()
    newer["versions"][-1]["plans"]["pro"]["concurrency_limit"] = 120
    world.tally("catalog", "apply", world.write("newer.json", newer), "--retroactive")
    close(world, "2026-11", at("2026-12-02T00"))
    meter(world, "december", DECEMBER, at("2027-01-02T00"))
    close(world, "2026-12", at("2027-01-02T00"))
    close(world, "2027-01", at("2027-02-01T02"))
    # As a closing leaves it that was stopped behind its first batch, with an account more to come.
    world.psql("ALTER TABLE closing DISABLE TRIGGER never_reopen; UPDATE closing SET closed = false,"
               " after = 'hans' WHERE period = '2027-01-01';"
               " ALTER TABLE closing ENABLE ALWAYS TRIGGER never_reopen")
    apply(world, {"accounts": [account("zoe", subscription("scale", "2027-01-01"))]})


# ---- the audit ----


def audit(world: World, *more: Any, at: int = AUDIT_AT, exit: Any = 0) -> Ran:
    return world.tally("audit", "--as-of", iso(at), *more, exit=exit)


def findings(ran: Ran) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    return [row for row in rows if "check" in row]


# ---- the chain, computed anew ----


def rehash(world: World) -> None:
    """Hashes everything anew, as docs/invoices.md describes it, so that the chain is right again; but
    for what was changed so that it has no such content."""
    shown: dict[str, Any] = {}
    for period in world.psql("SELECT DISTINCT to_char(period, 'YYYY-MM') FROM invoice").split():
        ran = world.tally("invoices", "list", "--period", period, "--format", "json", exit=None)
        if ran.exit == 0:
            shown |= {invoice["number"]: invoice for invoice in json.loads(ran.stdout)}
    rows = world.psql(
        "SELECT json_build_object('number', number, 'account', account, 'inputs', inputs,"
        " 'catalog_revision', catalog_revision, 'account_revision', account_revision)"
        " FROM invoice ORDER BY place"
    )
    previous, updates = "0" * 64, []
    for row in map(json.loads, rows.splitlines()):
        before = previous
        with contextlib.suppress(KeyError, Failed):
            previous = hash_of(before, shown[row["number"]], row)
        updates.append(
            f"UPDATE invoice SET hash = '\\x{previous}', previous_hash = '\\x{before}'"
            f" WHERE number = '{row['number']}' AND account = '{row['account']}'"
        )
    updates.append(f"UPDATE chain SET hash = '\\x{previous}', place = (SELECT count(*) FROM invoice)")
    world.psql("; ".join(updates))


# ---- what can be changed ----


@dataclass
class Tampering:
    what: str
    sql: str
    named: list[str]  # one of these must be in what the audit prints
    table: str
    column: str = ""

    @property
    def place(self) -> tuple[str, str]:
        return self.table, self.column


TABLES = ["invoice", "invoice_line", "grant_draw", "carried_grant", "closed_again", "closing", "series",
          "chain", "account", "account_history", "catalog", "state"]

# Rows of which a column can be proven, where it cannot be of all; with the reason.
PROVEN = {
    # Nothing was rated by the first catalogue.
    ("catalog", "content"): "revision > 1",
    # The moment of an old revision decides nothing and is noted nowhere else: only its order is looked
    # at, and that it is not yet to come. The newest is that of the account.
    ("account_history", "applied_at"):
        "revision = (SELECT max(revision) FROM account_history h WHERE h.account = t.account)",
    ("catalog", "applied_at"): "false",
    # A closing that has issued nothing yet is the only one who knows of its horizon.
    ("closing", "horizon"): "closed",
    ("invoice", "usage"): "usage <> '[]'",
}
# What only a head that was kept elsewhere proves, once the chain was computed anew.
HEAD_PROVES = {
    ("invoice", "issued_at"): "but for the year, the moment stands nowhere else",
    ("invoice", "reason"): "what somebody gave as the reason stands nowhere else",
    ("invoice", "catalog_revision"): "catalogues with the same terms are the same to an invoice, but for"
    " their order",
    ("invoice", "hash"): "computed anew",
    ("invoice", "previous_hash"): "computed anew",
}
# What the tables' own constraints may refuse, whoever asks.
CONSTRAINED = {("chain", "one"), ("state", "one"), ("closing", "after")}

NUMBER = "INV-2026-000999"
# Other values of their columns, where one more is not what is wanted.
OTHERS = {
    ("invoice", "account"): "'aaa'",
    ("invoice", "number"): f"'{NUMBER}'",
    ("invoice", "kind"): "1 - kind",
    ("invoice", "place"): "place + 1000",
    ("invoice", "credits_number"): "'INV-2026-000001'",
    ("invoice", "currency"): "'EUR'",
    ("invoice", "usage"):
        "jsonb_set(usage, '{0,minutes}', to_jsonb((usage #>> '{0,minutes}')::bigint + 1))",
    ("invoice", "inputs"): "jsonb_set(inputs, '{segments,0,base_fee_cents}', '1')",
    ("invoice_line", "account"): "'aaa'",
    ("invoice_line", "number"): f"'{NUMBER}'",
    ("invoice_line", "line"): "line + 100",
    ("invoice_line", "kind"): "CASE kind WHEN 'tax' THEN 'minimum' ELSE 'tax' END",
    ("grant_draw", "account"): "'aaa'",
    ("grant_draw", "number"): f"'{NUMBER}'",
    ("grant_draw", "unit"): "1 - unit",
    ("carried_grant", "account"): "'aaa'",
    ("carried_grant", "number"): f"'{NUMBER}'",
    ("closing", "period"): "(period + interval '100 months')::date",
    ("closing", "closed"): "NOT closed, after = NULL",
    ("closing", "after"): "'acme'",
    ("series", "series"): "'INV-2031'",
    ("account", "content"): "jsonb_set(content, '{name}', '\"Other\"')",
    ("account_history", "revision"): "revision + 10",
    ("account_history", "content"): "jsonb_set(content, '{name}', '\"Other\"')",
    ("catalog", "revision"): "revision + 10",
    ("catalog", "content"): "jsonb_set(content, '{versions,1,credit_price}', '\"0.02\"')",
}
BY_TYPE = {
    "bigint": "{0} + 1",
    "integer": "{0} + 1",
    "smallint": "{0} + 1",
    "text": "{0} || 'x'",
    "boolean": "NOT {0}",
    "date": "({0} + interval '1 month')::date",
    "timestamp with time zone": "{0} + interval '1 microsecond'",
    "bytea": "set_byte({0}, 0, get_byte({0}, 0) # 1)",
}
FILLED = {
    "bigint": "5",
    "text": "'INV-2026-000001'",
    "date": "date '2026-09-01'",
    "timestamp with time zone": "timestamptz '2027-01-01Z'",
}
# What makes a copied row another one.
COPIES: dict[str, list[dict[str, Any]]] = {
    "invoice": [{"number": NUMBER, "place": 1000}],
    "invoice_line": [{"line": 99}, {"number": NUMBER}],
    "grant_draw": [{"grant_id": "other"}, {"number": NUMBER}],
    "carried_grant": [{"number": "INV-2026-000001"}, {"number": NUMBER}],
    "closed_again": [
        {"number": NUMBER},
        {"account": "acme", "number": "INV-2026-000001"},  # stands
        {"account": "dora", "number": "INV-2026-000004"},  # was issued anew
        {"account": "hans", "number": "INV-2026-000008"},  # its period is open
    ],
    "closing": [{"period": "2027-02-01"}, {"period": "2029-01-01"}],
    "series": [{"series": "INV-2031"}],
    "account": [{"account": "zeta"}],
    "account_history": [{"revision": 77}, {"account": "zeta"}],
    "catalog": [{"revision": 77}],
}


@dataclass
class Column:
    table: str
    name: str
    type: str
    nullable: bool


def columns(world: World) -> list[Column]:
    names = ", ".join(f"'{table}'" for table in TABLES)
    rows = world.psql(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        f" WHERE table_schema = 'public' AND table_name IN ({names})"
        " ORDER BY table_name, ordinal_position"
    )
    return [Column(t, c, d, n == "YES") for t, c, d, n in (row.split("|") for row in rows.splitlines())]


def key_of(world: World, table: str) -> list[str]:
    return world.psql(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        f" AND a.attnum = ANY (i.indkey) WHERE i.indrelid = '{table}'::regclass AND i.indisprimary"
    ).split()


Row = dict[str, Any]


def rows_of(world: World, table: str, where: str = "true") -> list[Row]:
    rows = world.psql(
        f"SELECT to_jsonb(t) FROM {table} t WHERE {where} ORDER BY md5(to_jsonb(t)::text)"
    )
    return [json.loads(row) for row in rows.splitlines()]


def text_of(row: Row, key: list[str]) -> str:
    return ", ".join(str(row[name]) for name in key)


def where(row: Row, key: list[str]) -> str:
    return " AND ".join(f"{name} = '{row[name]}'" for name in key)


def names_of(table: str, row: Row) -> list[str]:
    """What a finding about a row may name it by."""
    if table in ("chain", "state", "catalog", "series"):
        return [{"catalog": "catalogue", "state": "catalogue"}.get(table, table), table]
    if table == "closing":
        return [row["period"][:7], "2027-01", "closing"]
    return [str(row[name]) for name in ("number", "account") if name in row]


def changes(world: World, column: Column, key: list[str], rows_max: int) -> Iterator[Tampering]:
    place = (column.table, column.name)
    proven = PROVEN.get(place, "true")
    other = OTHERS.get(place) or BY_TYPE[column.type].format(column.name)
    with_value = rows_of(world, column.table, f"{column.name} IS NOT NULL AND {proven}")[:rows_max]
    without = rows_of(world, column.table, f"{column.name} IS NULL AND {proven}")[:1]
    ways = [("changed", other, row) for row in with_value]
    if column.nullable:
        ways += [("emptied", "NULL", row) for row in with_value[:1]]
        ways += [("filled", FILLED[column.type], row) for row in without]
    for way, value, row in ways:
        yield Tampering(
            f"{column.table}.{column.name} {way} at {text_of(row, key)}",
            f"UPDATE {column.table} SET {column.name} = {value} WHERE {where(row, key)}",
            names_of(column.table, row), column.table, column.name,
        )


def whole_rows(world: World, table: str, key: list[str], rows_max: int) -> Iterator[Tampering]:
    rows = rows_of(world, table)
    for row in rows[:rows_max]:
        yield Tampering(
            f"{table} without {text_of(row, key)}", f"DELETE FROM {table} WHERE {where(row, key)}",
            names_of(table, row), table,
        )
    for others in COPIES.get(table, []):
        row = next(row for row in rows if row.get("kind") != 1)  # no second note of one invoice gets in
        yield Tampering(
            f"{table} with a copy of {text_of(row, key)}: {others}",
            f"INSERT INTO {table} SELECT (jsonb_populate_record(t, '{json.dumps(others)}')).*"
            f" FROM {table} t WHERE {where(row, key)}",
            names_of(table, row | others), table,
        )
    own = [c.name for c in columns(world) if c.table == table and c.name not in [*key, "place"]]
    for one, two in zip(rows[:rows_max], rows[1:]):
        if all(one[name] == two[name] for name in own) or table == "catalog":
            continue
        swap = [
            f"UPDATE {table} SET ({', '.join(own)}) = (SELECT {', '.join(own)} FROM saved.{table} t"
            f" WHERE {where(b, key)}) WHERE {where(a, key)}"
            for a, b in ((one, two), (two, one))
        ]
        yield Tampering(
            f"{table}: {text_of(one, key)} and {text_of(two, key)} swapped", "; ".join(swap),
            names_of(table, one) + names_of(table, two), table,
        )


def tamperings(world: World, rows_max: int = 2) -> Iterator[Tampering]:
    keys = {table: key_of(world, table) for table in TABLES}
    for column in columns(world):
        yield from changes(world, column, keys[column.table], rows_max)
    for table in TABLES:
        yield from whole_rows(world, table, keys[table], rows_max)


# What no column of its type should ever hold.
ABSURD = {
    "bigint": ["9223372036854775807", "-9223372036854775808"],
    "integer": ["2147483647", "-2147483648"],
    "smallint": ["32767", "-1"],
    "text": ["''", "repeat('\u2026', 5000)"],
    "date": ["'infinity'", "'0044-03-15 BC'", "'2199-12-31'"],
    "timestamp with time zone": ["'infinity'", "'0044-03-15Z BC'"],
    "jsonb": ["'{}'", "'[]'", "'null'", "'[{\"size\":1e300}]'"],
    "bytea": ["decode(repeat('ff', 32), 'hex')"],
}


def absurdities(world: World, tables: list[str]) -> Iterator[Tampering]:
    for column in columns(world):
        if column.table not in tables:
            continue
        key = key_of(world, column.table)
        proven = PROVEN.get((column.table, column.name), "true")
        row = rows_of(world, column.table, f"{column.name} IS NOT NULL AND {proven}")[0]
        for value in ABSURD[column.type]:
            yield Tampering(
                f"{column.table}.{column.name} is {value[:40]}",
                f"UPDATE {column.table} SET {column.name} = {value} WHERE {where(row, key)}",
                names_of(column.table, row), column.table, column.name,
            )


# ---- what an invoice keeps ----

# What of it only a head that was kept elsewhere proves.
HEAD_PROVES_KEPT = {
    "adjustments/*/rated/grants/*/balance": "what adjusting drew anew in periods that came out the same"
    " is not kept",
}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value that is not an object or an array."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from leaves(member, (*path, name))
    elif isinstance(value, list):
        for place, element in enumerate(value):
            yield from leaves(element, (*path, place))
    else:
        yield path


def pattern(path: tuple[Any, ...]) -> str:
    return "/".join("*" if isinstance(step, int) else step for step in path)


def other_value(value: Any) -> Any:
    """Another value of its kind, as plausible."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if value in ("credit", "usd"):
        return "usd" if value == "credit" else "credit"
    with contextlib.suppress(ValueError):
        return (date.fromisoformat(value) + timedelta(days=1)).isoformat()
    with contextlib.suppress(ValueError):
        return (datetime.fromisoformat(value) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with contextlib.suppress(ValueError):
        return (date.fromisoformat(f"{value}-01") + timedelta(days=31)).isoformat()[:7]
    return f"{value}1"  # a price, or a name


def kept_tamperings(row: Row) -> Iterator[tuple[str, Tampering]]:
    """Each kind of value that an invoice keeps, changed where it stands last."""
    by_pattern = {pattern(path): path for path in leaves(row["inputs"])}
    for name, path in by_pattern.items():
        inputs = copy.deepcopy(row["inputs"])
        inside = inputs
        for step in path[:-1]:
            inside = inside[step]
        inside[path[-1]] = other_value(inside[path[-1]])
        yield name, Tampering(
            f"{row['number']} keeps another {name}",
            f"UPDATE invoice SET inputs = '{json.dumps(inputs)}' WHERE number = '{row['number']}'",
            [row["number"]], "invoice",
        )


# ---- trying ----


class Books:
    """A world's books, which can be changed and put right again."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.psql("CREATE SCHEMA saved; " + "; ".join(
            f"CREATE TABLE saved.{table} AS TABLE {table}; ALTER TABLE {table} DISABLE TRIGGER ALL"
            for table in TABLES
        ))

    def missed(self, tampering: Tampering, anew: bool = False) -> str | None:
        """How the audit does not find it; None where it does."""
        touched = [tampering.table] + (["invoice", "chain"] if anew else [])
        try:
            self.world.psql(tampering.sql)
        except Failed as refused:
            return None if tampering.place in CONSTRAINED else f"{tampering.what}: {refused}"
        if anew:
            rehash(self.world)
        ran = audit(self.world, exit=None)
        self.world.psql("; ".join(
            f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved.{table}"
            for table in dict.fromkeys(touched)
        ))
        named = any(name in ran.stdout for name in tampering.named)
        if ran.exit == 1 and named:
            return None
        return f"{tampering.what}: {'not named' if ran.exit == 1 else f'exit {ran.exit}'}\n{ran}"
