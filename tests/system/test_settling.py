# SPDX-License-Identifier: Apache-2.0
"""What closed periods come to afterwards: adjustments, credit notes and second closings, drawn at
random and compared with the oracle step by step."""

from __future__ import annotations

import time

from billing import apply, close, invoices, meter
from harness import World, expect_same, test
from histories import iso
from oracle import instant_of
from settling import Bookkeeping, run_of

SECONDS = 40  # for which one test draws worlds


def settle_some(world: World, seconds: float, periods: int, accounts: int, steps: int) -> None:
    random = world.random
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        world.fresh()
        first = random.choice(["2026-09", "2027-11", "2027-12", "2025-03"])
        books = Bookkeeping(world, random, first, periods, accounts)
        for _ in range(steps):
            books.step()
        books.settle()


@test("whatever changes after closings, in any order, what stands adds up to what is known",
      seconds=180, heavy=True)
def settling(world: World) -> None:
    settle_some(world, SECONDS, periods=3, accounts=6, steps=12)


@test("the same over many months and with more accounts", seconds=180, heavy=True)
def settling_longer(world: World) -> None:
    settle_some(world, SECONDS, periods=5, accounts=20, steps=25)


@test("the same for an hour", seconds=4000, long=True)
def settling_for_long(world: World) -> None:
    settle_some(world, 3600, periods=4, accounts=8, steps=18)


@test("a period that was closed again with nothing to bill is closed: what comes later is adjusted")
def closed_again_with_nothing(world: World) -> None:
    account = {"id": "acme", "name": "Acme",
               "subscriptions": [{"plan": "enterprise", "from": "2026-01-01"}]}
    apply(world, {"accounts": [account]})
    clock = instant_of("2026-12-01T12:00:00Z")

    def used(vm: str, day: str) -> None:
        meter(world, "events.ndjson", run_of("acme", vm, day, 60), clock)

    close(world, "2026-09", clock)
    used("one", "2026-09-10")
    close(world, "2026-10", clock)  # its invoice has but an adjustment of 2026-09
    [invoice] = invoices(world, "2026-10", clock)
    world.tally("invoices", "void", invoice["number"], "--reason", "wrong", "--as-of", iso(clock))
    close(world, "2026-11", clock)  # which this one takes over
    close(world, "2026-10", clock, "--account", "acme")
    used("two", "2026-10-10")
    later = instant_of("2027-01-01T12:00:00Z")
    close(world, "2026-12", later)
    got = [
        (line["kind"], line["period"], line["amount"])
        for invoice in invoices(world, "2026-12", later)
        for line in invoice["lines"]
    ]
    expect_same([("adjustment", "2026-10", "1.19")], got, "the lines of the next invoice")
