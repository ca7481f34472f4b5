# SPDX-License-Identifier: Apache-2.0
"""What is refused, and that nothing is done then; migrations; dead letters."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from billing import apply, close, invoices, meter, reasons, usage
from harness import World, expect, expect_same, test
from histories import account, iso, varied
from oracle import DEFAULT_CATALOG, instant_of
from oracle_decode import DAY, MINUTE

AS_OF = instant_of("2026-11-02T00:00:00Z")

ACME: dict[str, Any] = {
    "accounts": [
        {
            "id": "acme",
            "name": "Acme GmbH",
            "subscriptions": [{"plan": "scale", "from": "2026-09-01"}],
            "grants": [
                {"id": "promo", "unit": "credit", "amount": "2", "from": "2026-09-01"}
            ],
        }
    ]
}


def event(kind: str, time: str, account: str = "acme", **data: Any) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"{kind} {time}",
            "source": "/s",
            "type": f"vm.{kind}",
            "subject": "vm",
            "time": time,
            "data": {"account": account, **data},
        }
    ).encode()


def an_hour(day: str, account: str = "acme", size: str = "small") -> list[bytes]:
    return [
        event("started", f"{day}T10:00:00Z", account, size=size),
        event("stopped", f"{day}T11:00:00Z", account),
    ]


# ---- bad usage ----

BAD_COMMANDS: list[tuple[list[str], list[str]]] = [
    ([], []),
    (["nonsense"], ["nonsense"]),
    (["invoices"], []),
    (["invoices", "nonsense"], ["nonsense"]),
    (["migrate", "--nonsense"], ["nonsense"]),
    (["migrate", "extra"], ["extra"]),
    (["meter", "--file"], ["file"]),
    (["meter", "--file", "missing.ndjson"], ["missing.ndjson"]),
    (["meter", "--file", "events.ndjson", "--as-of", "yesterday"], ["as-of", "yesterday"]),
    (["meter", "--file", "events.ndjson", "--batch-max", "many"], ["batch-max", "many"]),
    (["catalog", "apply"], []),
    (["catalog", "apply", "missing.json"], ["missing.json"]),
    (["catalog", "show", "--on", "2026-02-30"], ["on", "2026-02-30"]),
    (["accounts", "apply"], []),
    (["accounts", "apply", "missing.json"], ["missing.json"]),
    (["usage"], []),
    (["usage", "acme", "--from", "2026-13-01", "--to", "2026-10-01"], ["from", "2026-13-01"]),
    (["usage", "acme", "--from", "2026-10-01", "--to", "soon"], ["to", "soon"]),
    (["usage", "acme", "--window", "week"], ["window", "week"]),
    (["usage", "acme", "--group-by", "colour"], ["group-by", "colour"]),
    (["usage", "acme", "--format", "xml"], ["format", "xml"]),
    (["usage", "acme", "--as-of", "1999-01-01T00:00:00Z"], ["as-of", "1999-01-01"]),
    (["invoices", "close"], ["period"]),
    (["invoices", "close", "--period", "2026-13"], ["period", "2026-13"]),
    (["invoices", "close", "--period", "2026-1"], ["period", "2026-1"]),
    (["invoices", "list"], ["period"]),
    (["invoices", "list", "--period", "October"], ["period", "October"]),
    (["invoices", "show"], []),
    (["invoices", "preview", "--period", "2026-10"], []),
    (["estimate", "--plan", "scale", "--size", "nano", "--vms", "x", "--hours", "3",
      "--days", "30"], ["vms", "x"]),
    (["estimate", "--plan", "nope", "--size", "nano", "--vms", "8", "--hours", "3",
      "--days", "30"], ["nope"]),
    (["estimate", "--plan", "scale", "--size", "giant", "--vms", "8", "--hours", "3",
      "--days", "30"], ["giant"]),
]


@test("a wrong command ends with 2, and says what is wrong", seconds=60)
def bad_commands(world: World) -> None:
    apply(world, ACME)
    world.write("events.ndjson", an_hour("2026-10-01"))
    wrong = []
    for arguments, named in BAD_COMMANDS:
        ran = world.tally(*arguments, exit=None, seconds=10)
        if ran.exit != 2 or not ran.stderr or any(word not in ran.stderr for word in named):
            wrong.append(f"expected exit 2 and a message that names {named}:\n{ran}")
        if ran.stdout:
            wrong.append(f"expected nothing on standard output:\n{ran}")
    expect(not wrong, f"{len(wrong)} of {len(BAD_COMMANDS)}\n" + "\n".join(wrong))
    expect_same({}, usage(world, "acme", AS_OF), "usage after wrong commands")


def changed(document: Any, path: list[Any], value: Any) -> Any:
    """A copy with one member changed; `...` takes it away."""
    document = copy.deepcopy(document)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


SUBSCRIPTION = {"plan": "pro", "from": "2026-11-01"}
FIRST: list[Any] = ["accounts", 0]
GRANT: list[Any] = [*FIRST, "grants", 0]

# Where, what is put there, and the word that the message must have.
BAD_ACCOUNTS: list[tuple[list[Any], Any, str]] = [
    (["accounts"], ..., "accounts"),
    (["accounts"], {}, "accounts"),
    ([*FIRST], "acme", "accounts"),
    ([*FIRST, "id"], ..., "id"),
    ([*FIRST, "id"], "", "id"),
    ([*FIRST, "id"], "a b", "id"),
    ([*FIRST, "id"], "x" * 65, "id"),
    ([*FIRST, "id"], 7, "id"),
    ([*FIRST, "name"], 7, "name"),
    ([*FIRST, "tax_rate_bps"], -1, "tax_rate_bps"),
    ([*FIRST, "tax_rate_bps"], "19", "tax_rate_bps"),
    ([*FIRST, "tax_rate_bps"], 19.5, "tax_rate_bps"),
    ([*FIRST, "suspended"], "no", "suspended"),
    ([*FIRST, "spend_limit"], 2000, "spend_limit"),
    ([*FIRST, "spend_limit"], "2000.001", "spend_limit"),
    ([*FIRST, "spend_limit"], "1e3", "spend_limit"),
    ([*FIRST, "subscriptions"], ..., "subscriptions"),
    ([*FIRST, "subscriptions"], [], "subscriptions"),
    ([*FIRST, "subscriptions"], [{"plan": None, "from": "2026-09-01"}], "plan"),
    ([*FIRST, "subscriptions"], [{"plan": "nope", "from": "2026-09-01"}], "nope"),
    ([*FIRST, "subscriptions"], [{"plan": "pro"}], "from"),
    ([*FIRST, "subscriptions"], [{"plan": "pro", "from": "2026-09-31"}], "from"),
    ([*FIRST, "subscriptions"], [SUBSCRIPTION, SUBSCRIPTION], "from"),
    (
        [*FIRST, "subscriptions"],
        [SUBSCRIPTION]
        + [{"plan": None, "from": "2026-11-10"}, {"plan": None, "from": "2026-11-20"}],
        "2026-11-20",
    ),
    *[
        ([*FIRST, "subscriptions", 0, "overrides"], {name: value}, name)
        for name, value in [
            ("base_fee", 170),
            ("base_fee", "170.001"),
            ("base_fee", None),
            ("included_credits", "many"),
            ("included_credits", -1),
            ("included_credits", None),
            ("credit_discount_bps", 10001),
            ("credit_discount_bps", -1),
            ("credit_discount_bps", None),
            ("monthly_minimum", "x"),
            ("monthly_minimum", None),
            ("concurrency_limit", -1),
            ("concurrency_limit", "5"),
            ("overage", "maybe"),
            ("overage", None),
            ("nonsense", 1),
        ]
    ],
    ([*GRANT, "id"], ..., "id"),
    ([*GRANT, "id"], "signup", "signup"),
    ([*GRANT, "id"], "carry:INV-2026-000001", "carry:"),
    ([*GRANT, "unit"], "eur", "unit"),
    ([*GRANT, "unit"], ..., "unit"),
    ([*GRANT, "amount"], 2, "amount"),
    ([*GRANT, "amount"], "0.01", "amount"),  # not a whole credit-minute
    ([*GRANT, "amount"], "-5", "amount"),
    ([*GRANT, "amount"], ..., "amount"),
    ([*GRANT, "from"], ..., "from"),
    ([*GRANT, "expires"], "2026-09-01", "expires"),
    ([*GRANT, "expires"], "2026-08-01", "expires"),
    ([*GRANT, "priority"], "first", "priority"),
    ([*FIRST, "grants"], ACME["accounts"][0]["grants"] * 2, "promo"),
]


def expect_refused(world: World, command: list[str], file: Path, word: str) -> str | None:
    ran = world.tally(*command, file, exit=None, seconds=10)
    if ran.exit != 2 or file.name not in ran.stderr or word not in ran.stderr:
        named = f"expected exit 2, and '{file.name}' and '{word}' named"
        return f"{named} for {file.read_text()}\n{ran}"
    return None


def try_files(world: World, command: list[str], files: list[tuple[Any, str]]) -> None:
    """Each file is refused whole: a good account before the bad one is not applied either."""
    wrong = []
    for n, (content, word) in enumerate(files):
        problem = expect_refused(world, command, world.write(f"bad-{n}.json", content), word)
        wrong += [problem] if problem else []
    expect(not wrong, f"{len(wrong)} of {len(files)} files\n" + "\n".join(wrong))


@test("a wrong accounts file ends with 2, names file and member, and applies nothing")
def bad_accounts(world: World) -> None:
    apply(world, ACME)
    before = world.tally("accounts", "list").stdout
    good = {"id": "new", "name": "New", "subscriptions": [SUBSCRIPTION]}
    files: list[tuple[Any, str]] = [("not JSON", ""), ("[]", ""), ('{"accounts":[]', "")]
    for path, value, word in BAD_ACCOUNTS:
        document = changed(ACME, path, value)
        if isinstance(document.get("accounts"), list):
            document["accounts"].append(good)
        files.append((document, word))
    files.append(({"accounts": ACME["accounts"] * 2}, "acme"))
    try_files(world, ["accounts", "apply"], files)
    expect_same(before, world.tally("accounts", "list").stdout, "accounts after wrong files")


NANO: list[Any] = ["versions", 1, "sizes", "nano"]

BAD_CATALOGS: list[tuple[list[Any], Any, str]] = [
    (["versions"], ..., "versions"),
    (["versions"], [], "versions"),
    (["versions", 0, "from"], ..., "from"),
    (["versions", 0, "from"], "2024-12-32", "from"),
    (["versions", 1, "from"], "2024-12-12", "from"),
    (["versions", 0, "credit_price"], 0.018, "credit_price"),
    (["versions", 0, "credit_price"], "free", "credit_price"),
    (["versions", 0, "credit_price"], "-0.018", "credit_price"),
    (["versions", 0, "heartbeat_timeout_seconds"], 0, "heartbeat_timeout_seconds"),
    (["versions", 0, "heartbeat_timeout_seconds"], "600", "heartbeat_timeout_seconds"),
    (["versions", 0, "sizes"], {}, "sizes"),
    (NANO, ..., "nano"),
    ([*NANO, "credits_per_hour"], ..., "credits_per_hour"),
    ([*NANO, "credits_per_hour"], -10, "credits_per_hour"),
    ([*NANO, "credits_per_hour"], 10.5, "credits_per_hour"),
    ([*NANO, "vcpus"], "2", "vcpus"),
    ([*NANO, "memory_gib"], ..., "memory_gib"),
    (["versions", 0, "plans", "scale", "base_fee"], 170, "base_fee"),
    (["versions", 0, "plans", "scale", "overage"], "perhaps", "overage"),
    (["versions", 0, "plans", "scale", "included_credits"], -1, "included_credits"),
    (["versions", 0, "plans", "scale", "concurrency_limit"], "5", "concurrency_limit"),
]


@test("a wrong catalogue file ends with 2, names file and member, and applies nothing")
def bad_catalogs(world: World) -> None:
    before = world.tally("catalog", "show").stdout
    files: list[tuple[Any, str]] = [("not JSON", ""), ("[]", "")]
    files += [(changed(DEFAULT_CATALOG, path, value), word) for path, value, word in BAD_CATALOGS]
    try_files(world, ["catalog", "apply"], files)
    expect_same(before, world.tally("catalog", "show").stdout, "catalogue after wrong files")


# ---- refused by a rule ----


@test("periods are closed in order, none skipped and none too early; closing again is nothing")
def closing_order(world: World) -> None:
    apply(world, ACME)
    meter(world, "events.ndjson", an_hour("2026-09-10") + an_hour("2026-10-10"), AS_OF)
    too_early = instant_of("2026-10-01T01:00:00Z") - 1
    close(world, "2026-09", too_early, exit=3)
    expect_same([], invoices(world, "2026-09", AS_OF), "invoices after a closing too early")
    close(world, "2026-09", too_early + 1)
    [first] = invoices(world, "2026-09", AS_OF)
    close(world, "2026-11", AS_OF + 60 * DAY, exit=3)
    close(world, "2026-08", AS_OF, exit=3)
    close(world, "2026-09", AS_OF)
    expect_same([first], invoices(world, "2026-09", AS_OF), "invoices after closing again")
    close(world, "2026-10", AS_OF)
    [second] = invoices(world, "2026-10", AS_OF)
    expect_same(first["hash"], second["previous_hash"], "the chain")
    expect_same(["2026-09-10"], [str(d) for _, d, _ in usage(world, "acme", AS_OF)][:1], "usage")


@test("usage before the first closing is never billed")
def books_begin(world: World) -> None:
    apply(world, ACME)
    meter(world, "events.ndjson", an_hour("2026-09-10") + an_hour("2026-10-10"), AS_OF)
    close(world, "2026-10", AS_OF)
    close(world, "2026-09", AS_OF, exit=3)
    [invoice] = invoices(world, "2026-10", AS_OF)
    expect_same([{"size": "small", "minutes": 60}],
                [{k: row[k] for k in ("size", "minutes")} for row in invoice["usage"]], "usage")


@test("--check names what stands in the way of a closing, and closes nothing")
def closing_check(world: World) -> None:
    apply(world, ACME)
    lines = an_hour("2026-10-10") + an_hour("2026-10-11", account="nobody")
    meter(world, "events.ndjson", lines, AS_OF)
    ran = close(world, "2026-10", AS_OF, "--check", exit=None)
    expect("unknown_account" in ran.stdout + ran.stderr, f"the dead letters are named\n{ran}")
    expect_same([], invoices(world, "2026-10", AS_OF), "invoices after --check")


@test("an account's change that alters a closed period is refused, with the period named")
def closed_periods_stand(world: World) -> None:
    pro = changed(ACME, [*FIRST, "subscriptions", 0, "plan"], "pro")  # its grant is drawn at once
    apply(world, pro)
    meter(world, "events.ndjson", an_hour("2026-10-10"), AS_OF)
    close(world, "2026-10", AS_OF)
    before = world.tally("accounts", "list").stdout
    no_grant = changed(pro, [*FIRST, "grants"], ...)
    less = changed(pro, [*GRANT, "amount"], "1")
    for document, named in ((ACME, "2026-10"), (no_grant, "promo"), (less, "promo")):
        file = world.write("changed.json", document)
        ran = world.tally("accounts", "apply", file, exit=3)
        expect("2026-10" in ran.stderr or named in ran.stderr, f"the period is named\n{ran}")
    expect_same(before, world.tally("accounts", "list").stdout, "accounts after refusals")
    later = [*pro["accounts"][0]["subscriptions"], {"plan": "scale", "from": "2026-11-01"}]
    harmless = changed(pro, [*FIRST, "subscriptions"], later)
    world.tally("accounts", "apply", world.write("harmless.json", harmless))
    world.tally("accounts", "apply", "--retroactive", world.write("changed.json", ACME))


@test("an account in a file replaces the stored one whole, and others stay")
def accounts_replaced(world: World) -> None:
    random = world.random
    first = [account(random, f"a{n}", ["2026-09", "2026-10"]) for n in range(3)]
    apply(world, {"accounts": first})
    apply(world, ACME)
    listed = world.tally("accounts", "list").stdout
    for identity in ("a0", "a1", "a2", "acme"):
        expect(identity in listed, f"{identity} in\n{listed}")


# ---- migrate ----


@test("migrating twice, and twice at once, is migrating once")
def migrate_twice(world: World) -> None:
    world.tally("migrate")
    world.postgres.create(f"{world.database}_bare")
    world.database += "_bare"
    processes = [world.start("migrate") for _ in range(4)]
    for process in processes:
        _, stderr = process.communicate(timeout=60)
        expect_same(0, process.returncode, f"exit of migrations at once ({stderr.decode()})")
    scenario = an_hour("2026-10-10")
    apply(world, ACME)
    meter(world, "events.ndjson", scenario, AS_OF)
    expect_same([60], list(usage(world, "acme", AS_OF).values()), "minutes")


@test("on a database without a schema every command fails with a message, and writes nothing")
def unmigrated(world: World) -> None:
    world.postgres.create(f"{world.database}_bare")
    world.database += "_bare"
    accounts = world.write("accounts.json", ACME)
    for command in (["accounts", "apply", accounts], ["accounts", "list"], ["usage", "acme"]):
        ran = world.tally(*command, exit=(1, 3))
        expect("migrate" in ran.stderr, f"the message names `tally migrate`\n{ran}")


@test("a database that cannot be reached is exit 1 and a clear message", seconds=90)
def no_database(world: World) -> None:
    nowhere = {"TALLY_DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"}
    ran = world.tally("accounts", "list", env=nowhere, exit=1, seconds=60)
    expect(ran.stderr, f"a message\n{ran}")


# ---- dead letters ----


def letters(world: World) -> list[dict[str, Any]]:
    return world.json("dead-letters", "list")


@test("a dead letter says where it came from, and blocks no good event of its identity")
def dead_letter_origin(world: World) -> None:
    apply(world, ACME)
    good = varied("acme", "x")
    bad = varied("acme", "x", ["data", "size"], "giant")
    path = world.write("events.ndjson", [b"not JSON", bad, good])
    meter(world, "", path, AS_OF)
    found = letters(world)
    expect_same([("malformed", 1), ("unknown_size", 2)],
                sorted((letter["reason"], letter["line"]) for letter in found), "dead letters")
    for letter in found:
        expect(letter["file"].endswith("events.ndjson"), f"the file's name in {letter}")
        expect(letter["id"] and letter["detail"], f"an id and a detail in {letter}")
    expect(usage(world, "acme", AS_OF), "the good event is metered")


@test("a conflict and then a repeat, in one batch after the first: one dead letter")
def conflict_then_repeat(world: World) -> None:
    apply(world, ACME)
    first, other = varied("acme", "x"), varied("acme", "x", ["data", "size"], "large")
    meter(world, "first.ndjson", [first], AS_OF)
    meter(world, "second.ndjson", [other, first], AS_OF)
    expect_same({"conflict": 1}, dict(reasons(world)), "dead letters")
    meter(world, "third.ndjson", [first, other, first], AS_OF, "--batch-max", 1)
    expect_same({"conflict": 2}, dict(reasons(world)), "dead letters")


@test("an event of an unknown account is metered by itself when the account appears")
def unknown_account_retried(world: World) -> None:
    late = changed(ACME, [*FIRST, "id"], "late")
    apply(world, ACME)
    meter(world, "events.ndjson", an_hour("2026-10-10", "late"), AS_OF)
    expect_same({"unknown_account": 2}, dict(reasons(world)), "dead letters")
    apply(world, late)
    meter(world, "more.ndjson", an_hour("2026-10-11"), AS_OF)  # by now, at the latest
    expect_same({}, dict(reasons(world)), "dead letters after the account was created")
    expect_same([60], list(usage(world, "late", AS_OF).values()), "minutes")


@test("an event of the future is metered by itself when its time has come")
def future_retried(world: World) -> None:
    apply(world, ACME)
    begin = instant_of("2026-10-10T10:00:00Z")
    lines = an_hour("2026-10-10")
    meter(world, "events.ndjson", lines, begin - 5 * MINUTE - 1)
    expect_same({"future": 2}, dict(reasons(world)), "dead letters")
    meter(world, "none.ndjson", [], begin - 5 * MINUTE)
    expect_same({"future": 1}, dict(reasons(world)), "dead letters five minutes before")
    meter(world, "none.ndjson", [], AS_OF)
    expect_same({}, dict(reasons(world)), "dead letters afterwards")
    expect_same([60], list(usage(world, "acme", AS_OF).values()), "minutes")


@test("dead letters can be retried once their cause is gone, and discarded by name")
def retry_and_discard(world: World) -> None:
    apply(world, ACME)
    giant = an_hour("2026-10-10", size="giant")[:1]
    meter(world, "events.ndjson", [*giant, b"not JSON", b"neither"], AS_OF)
    as_of = ["--as-of", iso(AS_OF)]
    world.tally("dead-letters", "retry", *as_of, exit=None)
    expect_same({"unknown_size": 1, "malformed": 2}, dict(reasons(world)), "retried in vain")
    catalog = copy.deepcopy(DEFAULT_CATALOG)
    for version in catalog["versions"]:
        version["sizes"]["giant"] = {"vcpus": 128, "memory_gib": 256, "credits_per_hour": 640}
    world.tally("catalog", "apply", world.write("catalog.json", catalog))
    world.tally("dead-letters", "retry", *as_of, exit=None)
    expect_same({"malformed": 2}, dict(reasons(world)), "dead letters after the retry")
    expect(usage(world, "acme", AS_OF), "what was retried is metered")
    first, second = sorted(letter["id"] for letter in letters(world))
    world.tally("dead-letters", "discard", first)
    expect_same([second], [letter["id"] for letter in letters(world)], "what is left")
