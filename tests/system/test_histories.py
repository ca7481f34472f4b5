# SPDX-License-Identifier: Apache-2.0
"""Random histories of a thousand accounts, against the oracle."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from billing import (
    EVER,
    apply,
    close,
    expect_history,
    expect_invoices,
    expect_usage,
    invoices,
    meter,
    oracle_of,
    pieces,
)
from harness import World, expect_same, test
from histories import iso, other_catalog
from histories import world as draw
from oracle import DEFAULT_CATALOG, Books, Catalog, Ledger, year_of
from oracle_decode import MINUTE

ACCOUNTS = 250


def meter_in_pieces(world: World, random: Random, lines: list[bytes], as_of: int) -> None:
    """Small batches and several calls, so that much of it arrives late."""
    for n, piece in enumerate(pieces(random, lines, 6)):
        batch = random.choice([["--batch-max", 7], ["--batch-max", 100], []])
        meter(world, f"events-{n}.ndjson", piece, as_of, *batch)


def register(
    what: str, period: str, catalog: dict[str, Any], name: str = "", long: bool = False
) -> None:
    @test(
        f"{ACCOUNTS} random accounts about {what} are metered and billed as the oracle has it",
        name=f"histories_{period}{name}",
        seconds=180,
        long=long,
    )
    def run(world: World) -> None:
        random = world.random
        history = draw(random, period, ACCOUNTS, catalog)
        apply(world, history.accounts, None if catalog is DEFAULT_CATALOG else catalog)
        meter_in_pieces(world, random, history.lines, history.as_of)
        expect_history(world, history, oracle_of(history), random.sample(history.ids, 50))


register("a common month's end", "2026-09", other_catalog())
register("a year's end", "2027-12", DEFAULT_CATALOG)
register("a leap day", "2028-02", other_catalog())
register("the change of the credit price", "2025-04", DEFAULT_CATALOG)
for n in range(10):
    register("a year's end", "2027-12", other_catalog(), name=f"_{n}", long=True)
    register("a leap day", "2028-02", DEFAULT_CATALOG, name=f"_{n}", long=True)


@test("metering the same file again changes nothing", seconds=120)
def repeat(world: World) -> None:
    random = world.random
    history = draw(random, "2026-09", 30, DEFAULT_CATALOG)
    apply(world, history.accounts)
    path = world.write("events.ndjson", history.lines)

    def everything() -> list[str]:
        by = ["--window", "hour", "--group-by", "vm", "--as-of", iso(history.as_of)]
        dump = [world.json("usage", account, *EVER, *by) for account in history.ids]
        return [json.dumps(row) for row in [*dump, *world.json("dead-letters", "list")]]

    meter(world, "", path, history.as_of)
    before = everything()
    for batch in ([], ["--batch-max", 7]):
        meter(world, "", path, history.as_of, *batch)
        expect_same(before, everything(), "what was metered")


@test("usage as of an earlier instant is that of the events until then", seconds=120)
def as_of(world: World) -> None:
    random = world.random
    history = draw(random, "2026-09", 40, DEFAULT_CATALOG, bad=False)
    apply(world, history.accounts)
    meter_in_pieces(world, random, history.lines, history.as_of)
    ledger = oracle_of(history)
    times = [event.time for vm in ledger.vms.values() for event in vm.values()]
    for _ in range(12):
        instant = random.choice(times) + random.choice([-1, 0, 0, 1, MINUTE, 10 * MINUTE + 1])
        expect_usage(world, ledger, random.sample(history.ids, 8), instant)


@test("another catalogue rebuilds all usage, and the first one restores it", seconds=120)
def catalog_change(world: World) -> None:
    random = world.random
    history = draw(random, "2026-09", 60, DEFAULT_CATALOG, bad=False)
    apply(world, history.accounts)
    meter_in_pieces(world, random, history.lines, history.as_of)
    for catalog in (DEFAULT_CATALOG, other_catalog(), DEFAULT_CATALOG):
        world.tally("catalog", "apply", world.write("catalog.json", catalog))
        history.catalog = catalog
        expect_usage(world, oracle_of(history), random.sample(history.ids, 20), history.as_of)


@test("after a catalogue is applied, what comes later is metered by it", seconds=120)
def catalog_between(world: World) -> None:
    random = world.random
    history = draw(random, "2026-09", 60, other_catalog())
    apply(world, history.accounts)
    first, second = pieces(random, history.lines, 2)
    meter(world, "first.ndjson", first, history.as_of)
    world.tally("catalog", "apply", world.write("catalog.json", history.catalog))
    meter(world, "second.ndjson", second, history.as_of, "--batch-max", 7)
    expect_history(world, history, oracle_of(history), random.sample(history.ids, 30))


@test("late events of closed periods are adjusted by the next invoice, to the cent", seconds=120)
def adjustments(world: World) -> None:
    random = world.random
    history = draw(random, "2026-09", 60, DEFAULT_CATALOG)
    apply(world, history.accounts)
    ledger = Ledger(Catalog(history.catalog), history.ids)
    books = Books(history.accounts["accounts"], ledger.catalog)
    for n, piece in enumerate(pieces(random, history.lines, 2)):
        meter(world, f"events-{n}.ndjson", piece, history.as_of)
        ledger.meter(piece, history.as_of)
        close(world, history.periods[n], history.as_of)
        books.close(history.periods[n], ledger.usage(history.as_of), year_of(history.as_of))
    for period in history.periods:
        expected = [invoice for invoice in books.invoices if invoice["period"] == period]
        expect_invoices(expected, invoices(world, period, history.as_of), period)
