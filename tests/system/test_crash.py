# SPDX-License-Identifier: Apache-2.0
"""Killed at any moment, and run again: the same usage and the same invoices."""

from __future__ import annotations

import subprocess
import time
from random import Random
from typing import Any

from billing import (
    apply,
    check_chain,
    close,
    expect_history,
    expect_invoices,
    invoices,
    meter,
    oracle_of,
)
from harness import World, expect, expect_same, kill, test
from histories import account, iso
from histories import world as draw
from oracle import DEFAULT_CATALOG, instant_of, invoices_of, ledger_of
from oracle_rate import days_of

PERIOD = "2026-10"
AS_OF = instant_of("2026-11-02T00:00:00Z")


def timed(run: Any) -> float:
    began = time.monotonic()
    run()
    return time.monotonic() - began


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it was killed before it had ended."""
    try:
        process.communicate(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        kill(process)
        process.communicate()
        return True


def killed_meters(world: World, times: int) -> None:
    random = world.random
    history = draw(random, "2026-09", 100, DEFAULT_CATALOG)
    lines = world.write("events.ndjson", history.lines)
    command = ["meter", "--file", lines, "--as-of", iso(history.as_of), "--batch-max", 5]
    apply(world, history.accounts)
    whole = timed(lambda: world.tally(*command))
    # Repeats are quick: each time only a part of what is left, so that all of it meets a kill.
    world.fresh()
    apply(world, history.accounts)
    killed = 0
    for _ in range(3 * times):
        killed += kill_after(world.start(*command), random.uniform(0, whole / 3))
        if killed == times:
            break
    expect(killed == times, f"only {killed} of {times} were killed before they had ended")
    world.tally(*command)
    expect_history(world, history, oracle_of(history), random.sample(history.ids, 30))


@test("metering a file, killed 15 times at random moments, comes to the same", seconds=180)
def meter_killed(world: World) -> None:
    killed_meters(world, 15)


@test("metering a file, killed 500 times at random moments, comes to the same", seconds=3000,
      long=True)
def meter_killed_often(world: World) -> None:
    killed_meters(world, 500)


@test("two at once on one file, and killed, come to the same", seconds=180)
def meter_two_at_once(world: World) -> None:
    random = world.random
    history = draw(random, "2026-09", 40, DEFAULT_CATALOG)
    lines = world.write("events.ndjson", history.lines)
    command = ["meter", "--file", lines, "--as-of", iso(history.as_of), "--batch-max", 20]
    apply(world, history.accounts)
    for seconds in (0.2, 0.4, 60):
        processes = [world.start(*command) for _ in range(2)]
        for process in processes:
            if not kill_after(process, seconds):
                expect_same(0, process.returncode, "exit of metering one file twice at once")
    world.tally(*command)
    expect_history(world, history, oracle_of(history), random.sample(history.ids, 20))


# ---- closing ----


def fleet(random: Random, count: int) -> tuple[dict[str, Any], list[bytes]]:
    """Many accounts with a start and a stop each."""
    accounts = [account(random, f"acct-{n:05}", [PERIOD, "2026-11"]) for n in range(count)]
    lines = []
    days = days_of(PERIOD)
    for customer in accounts:
        if random.random() < 0.1:
            continue  # without usage there may be no invoice
        day = random.choice(days)
        for n, (kind, hour) in enumerate([("started", 3), ("stopped", 5)]):
            data = f'"account":"{customer["id"]}","size":"small"'
            lines.append(
                f'{{"specversion":"1.0","id":"{n}","source":"/s","type":"vm.{kind}",'
                f'"subject":"vm","time":"{day}T0{hour}:00:0{random.randrange(10)}Z",'
                f'"data":{{{data}}}}}'.encode()
            )
    return {"accounts": accounts}, lines


def closings_disturbed(world: World, times: int) -> None:
    random = world.random
    accounts, lines = fleet(random, 2000)
    apply(world, accounts)
    meter(world, "events.ndjson", lines, AS_OF)
    command = ["invoices", "close", "--period", PERIOD, "--as-of", iso(AS_OF)]
    copies = [world.database, f"{world.database}_whole"]
    world.postgres.create(copies[1], template=copies[0])

    world.database = copies[1]
    whole = timed(lambda: world.tally(*command))
    undisturbed = invoices(world, PERIOD, AS_OF)
    ledger = ledger_of(accounts, lines, AS_OF, DEFAULT_CATALOG)
    expected = invoices_of(accounts, ledger.catalog, ledger.usage(AS_OF), [PERIOD], AS_OF)
    expect_invoices(expected, undisturbed, "invoices closed undisturbed")

    world.database = copies[0]
    for n in range(times):
        closings = [world.start(*command) for _ in range(1 + n % 2)]
        for closing in closings:
            kill_after(closing, random.uniform(0, whole))
    last = [world.start(*command) for _ in range(2)]
    for closing in last:
        _, stderr = closing.communicate()
        expect_same(0, closing.returncode, f"exit of two closings at once ({stderr.decode()})")
    got = invoices(world, PERIOD, AS_OF)
    check_chain(got)
    expect_same(undisturbed, got, "invoices after closings that were killed")
    close(world, PERIOD, AS_OF)
    expect_same(got, invoices(world, PERIOD, AS_OF), "invoices after closing once more")


@test("closing for 2,000 accounts, killed at random moments and twice at once, is one closing",
      seconds=240)
def close_killed(world: World) -> None:
    closings_disturbed(world, 10)


@test("closing for 2,000 accounts, killed 100 times at random moments, is one closing",
      seconds=1800, long=True)
def close_killed_often(world: World) -> None:
    closings_disturbed(world, 100)
