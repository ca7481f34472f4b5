# SPDX-License-Identifier: Apache-2.0
"""Dead letters in numbers: found, counted, tried again and given up by what they have in common."""

from __future__ import annotations

import json
import resource
from typing import Any

from billing import apply, usage
from broker import Broker, record
from harness import World, expect, expect_same, test
from histories import iso, varied
from oracle import DEFAULT_CATALOG, instant_of

AS_OF = instant_of("2026-11-01T00:00:00Z")
REASONS = ["malformed", "invalid", "unknown_type", "unknown_account", "unknown_size", "future",
           "conflict", "rejected"]


def customer(id: str) -> dict[str, Any]:
    return {"id": id, "name": id, "subscriptions": [{"plan": "scale", "from": "2025-01-01"}]}


ACCOUNTS = {"accounts": [customer("acme"), customer("globex")]}


def giant(account: str, vm: str) -> bytes:
    """A start that no catalogue of before had a size for."""
    fields = json.loads(varied(account, vm, ["subject"], vm))
    fields["data"]["size"] = "giant"
    return json.dumps(fields).encode()


def with_giant() -> dict[str, Any]:
    catalog = json.loads(json.dumps(DEFAULT_CATALOG))
    for version in catalog["versions"]:
        version["sizes"]["giant"] = {"vcpus": 128, "memory_gib": 256, "credits_per_hour": 640}
    return catalog


def furnish(world: World) -> None:
    """Ids 1 to 8, from two files; with an hour between them by the clock of their arrival."""
    apply(world, ACCOUNTS)
    first = [b"not JSON", giant("acme", "a"), giant("acme", "b"), giant("globex", "a")]
    second = [b"neither", varied("nobody", "n"), varied("acme", "t", ["type"], "vm.exploded"),
              giant("globex", "b")]
    for name, lines in (("first.ndjson", first), ("second.ndjson", second)):
        path = world.write(name, lines)
        world.tally("meter", "--file", path.name, "--as-of", iso(AS_OF), "--batch-max", 1)
    world.psql("UPDATE dead_letter SET arrived_at = '2026-10-03T10:00:00Z'::timestamptz + id * interval '1 hour'")


def ids(world: World, *filters: Any) -> list[int]:
    return [letter["id"] for letter in world.json("dead-letters", "list", *filters)]


FILTERS: list[tuple[list[Any], list[int]]] = [
    ([], [1, 2, 3, 4, 5, 6, 7, 8]),
    (["--reason", "unknown_size"], [2, 3, 4, 8]),
    (["--account", "acme"], [2, 3, 7]),
    (["--account", "acme", "--vm", "a"], [2]),
    (["--vm", "a"], [2, 4]),
    (["--account", "ACME"], []),
    (["--file", "second.ndjson"], [5, 6, 7, 8]),
    (["--file", "second.ndjson", "--reason", "malformed"], [5]),
    (["--topic", "vm.lifecycle"], []),
    (["--since", "2026-10-03T15:00:00Z"], [5, 6, 7, 8]),
    (["--until", "2026-10-03T15:00:00Z"], [1, 2, 3, 4]),
    (["--since", "2026-10-03T12:00:00Z", "--until", "2026-10-03T13:00:00Z"], [2]),
    (["--since", "2026-10-04"], []),
    (["--limit", "3"], [1, 2, 3]),
    (["--limit", "0"], []),
    (["--reason", "unknown_size", "--limit", "2", "--account", "globex"], [4, 8]),
    (["7", "2", "99"], [2, 7]),
    (["7", "2", "--account", "acme", "--reason", "unknown_size"], [2]),
    (["--state", "metered"], []),
]


@test("each filter, and several together, find the dead letters that they say")
def letters_filtered(world: World) -> None:
    furnish(world)
    for filters, expected in FILTERS:
        expect_same(expected, ids(world, *filters), f"ids listed by {filters}")
        counted = [f for f in filters if f not in ("7", "2", "99")]
        if "--limit" in filters or counted != filters:
            continue
        rows = world.json("dead-letters", "count", *filters)
        expect_same(len(expected), sum(row["count"] for row in rows), f"counted by {filters}")
    table = world.tally("dead-letters", "list", "--account", "globex").stdout.splitlines()
    expect_same(["4", "8"], [line.split()[0] for line in table[1:]], "ids in the table")


@test("counts by reason and state, as a table and as JSON, follow what becomes of the letters")
def letters_counted(world: World) -> None:
    expect_same([], world.json("dead-letters", "count"), "counts of nothing")
    furnish(world)
    world.tally("dead-letters", "discard", 1)
    expected = [("malformed", "discarded", 1), ("malformed", "open", 1), ("unknown_account", "open", 1),
                ("unknown_size", "open", 4), ("unknown_type", "open", 1)]
    rows = world.json("dead-letters", "count")
    expect_same(expected, [(r["reason"], r["state"], r["count"]) for r in rows], "counts")
    lines = world.tally("dead-letters", "count").stdout.splitlines()
    expect_same([" ".join(map(str, row)) for row in expected],
                [" ".join(line.split()) for line in lines[1:]], "the table")
    rows = world.json("dead-letters", "count", "--state", "open", "--reason", "malformed")
    expect_same([{"reason": "malformed", "state": "open", "count": 1}], rows, "open ones")


@test("a retry takes those that the filters say through the door of all events, and no others")
def letters_retried(world: World) -> None:
    furnish(world)
    world.tally("catalog", "apply", world.write("catalog.json", with_giant()))
    as_of = ["--as-of", iso(AS_OF)]
    ran = world.tally("dead-letters", "retry", "--account", "acme", "--limit", 2, *as_of)
    expect("2 dead letters are metered now" in ran.stderr, f"the count is told\n{ran}")
    expect_same([2, 3], ids(world, "--state", "metered"), "ids that are metered")
    expect_same({"giant"}, {size for _, _, size in usage(world, "acme", AS_OF)}, "sizes of acme")
    expect_same({}, usage(world, "globex", AS_OF), "usage of globex")
    marks = "SELECT string_agg(DISTINCT account, ' ') FROM unsettled WHERE since = '2025-03-03'"
    expect_same("acme", world.psql(marks), "whose closed periods are looked at again")
    world.tally("dead-letters", "retry", "--until", "2026-10-03T15:00:00Z", *as_of)
    expect_same([2, 3, 4], ids(world, "--state", "metered"), "ids that are metered")
    expect_same([1, 5, 6, 7, 8], ids(world), "ids that are open")
    before = world.psql("SELECT state_at IS NULL FROM dead_letter WHERE id = 5")
    world.tally("dead-letters", "retry", *as_of)  # nothing said: all
    after = world.psql("SELECT state_at IS NULL FROM dead_letter WHERE id = 5")
    expect_same(("t", "f"), (before, after), "whether the letter was not tried yet")
    expect_same([1, 5, 6, 7], ids(world), "ids that are open after all were tried")
    expect_same("4", world.psql("SELECT count(*) FROM event"), "events")


@test("giving up needs to be told which ones, or --all; what is given up stays on record")
def letters_discarded(world: World) -> None:
    furnish(world)
    for bad in ([], ["--limit", 3], ["--all", 1], ["--all", "--reason", "invalid"]):
        ran = world.tally("dead-letters", "discard", *bad, exit=2)
        expect("--all" in ran.stderr, f"--all is named\n{ran}")
    world.tally("dead-letters", "retry", "--all", "--account", "acme", exit=2)
    expect_same(8, len(ids(world)), "open letters after refusals")
    world.tally("dead-letters", "discard", "--reason", "unknown_size", "--limit", 1)
    expect_same([2], ids(world, "--state", "discarded"), "ids given up")
    world.tally("dead-letters", "discard", "--file", "second.ndjson", "--account", "globex")
    expect_same([2, 8], ids(world, "--state", "discarded"), "ids given up")
    world.tally("dead-letters", "discard", 3, 2, exit=None)
    expect_same([2, 8], ids(world, "--state", "discarded"), "ids given up where one was not open")
    world.tally("dead-letters", "discard", "--all")
    expect_same([], ids(world), "open letters in the end")
    expect_same(8, len(ids(world, "--state", "all")), "letters on record")


@test("an unknown reason is refused, naming those that there are; so are ids and times that are none")
def letters_refused(world: World) -> None:
    for command in ("list", "retry", "discard", "count"):
        ran = world.tally("dead-letters", command, "--reason", "broken", exit=2)
        for reason in REASONS:
            expect(reason in ran.stderr, f"{reason} is named\n{ran}")
        world.tally("dead-letters", command, "--since", "yesterday", exit=2)
    for command in ("list", "retry", "discard"):
        for bad in ("0", "1x", "-1"):
            world.tally("dead-letters", command, bad, exit=2)


@test("letters of a topic are found by its name, and not those of a file", kafka=("mock", "real"))
def letters_of_a_topic(world: World) -> None:
    furnish(world)
    broker = Broker(world)
    broker.produce([record(b"not JSON either"), record(b"{")])
    world.tally("meter", "--until-caught-up", "--as-of", iso(AS_OF), *broker.flags)
    expect_same([9, 10], sorted(ids(world, "--topic", broker.topic)), "ids of the topic")
    expect_same([1], ids(world, "--file", "first.ndjson", "--reason", "malformed"), "of the file")


@test("twenty thousand dead letters are listed and tried again in little memory", seconds=180, heavy=True)
def letters_many(world: World) -> None:
    apply(world, ACCOUNTS)
    world.tally("meter", "--file", world.write("one.ndjson", [b"x" * 2000]), "--as-of", iso(AS_OF))
    world.psql(
        "INSERT INTO dead_letter (reason, detail, origin, position, value, sha256)"
        " SELECT reason, detail, origin, n, value, sha256(n::text::bytea) FROM dead_letter,"
        " generate_series(2, 20000) AS n"
    )

    def peak(*arguments: Any) -> tuple[int, int]:
        """How many letters were listed, and the most memory that it took of any so far, in KiB."""
        with open(world.folder / "listed", "wb") as file:
            process = world.start("dead-letters", *arguments, stdout=file, stderr=file)
            expect_same(0, process.wait(), f"exit of {arguments}")
        with open(world.folder / "listed", "rb") as file:
            listed = sum(b'"value":' in line for line in file)
        return listed, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss

    listed, few = peak("list", "--limit", 1000, "--format", "json")
    expect_same(1000, listed, "letters listed")
    listed, many = peak("list", "--format", "json")
    expect_same(20000, listed, "letters listed")
    _, tried = peak("retry", "--as-of", iso(AS_OF))
    count = "SELECT count(*) FROM dead_letter WHERE state_at IS NOT NULL"
    expect_same("20000", world.psql(count), "letters that were tried")
    expect(tried < few + 16 * 1024, f"KiB at most: {few}, then {many} and {tried}")
