# SPDX-License-Identifier: Apache-2.0
"""The scenarios that the contract comes with: their usage and their invoices, exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import oracle
from billing import (
    apply,
    check_chain,
    close,
    expect_invoices,
    invoices,
    meter,
    usage,
)
from harness import World, expect, expect_same, test
from histories import iso
from oracle import instant_of, lines_of, usage_rows

CHECKOUT = Path(__file__).resolve().parents[2]
BESIDE = CHECKOUT.parent / "shared" / "scenarios"
SCENARIOS = sorted((BESIDE if BESIDE.is_dir() else CHECKOUT / "tests" / "scenarios").iterdir())

ORDERS: dict[str, Callable[[list[bytes], Random], list[bytes]]] = {
    "given": lambda lines, _: lines,
    "reversed": lambda lines, _: lines[::-1],
    "shuffled": lambda lines, random: random.sample(lines, len(lines)),
    "doubled": lambda lines, random: random.sample(lines * 2, len(lines) * 2),
}


class Scenario:
    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        self.accounts: dict[str, Any] = json.loads((folder / "accounts.json").read_text())
        self.expected: dict[str, Any] = json.loads((folder / "expected.json").read_text())
        self.as_of = instant_of(self.expected["as_of"])
        self.steps = oracle.steps_of(folder, self.expected["periods"])

    @property
    def lines(self) -> list[bytes]:
        return [line for path in sorted(self.folder.glob("*.ndjson")) for line in lines_of(path)]

    def expect_usage(self, world: World) -> None:
        got = {}
        for account in self.accounts["accounts"]:
            got |= usage(world, account["id"], self.as_of)
        expect_same(self.expected["usage"], usage_rows(got), "usage")

    def expect_invoices(self, world: World) -> None:
        got = [
            invoice
            for period in self.expected["periods"]
            for invoice in invoices(world, period, self.as_of)
        ]
        expect_invoices(self.expected["invoices"], got, "invoices")
        check_chain(got)

    def bill(self, world: World) -> None:
        self.expect_usage(world)
        for period in self.expected["periods"]:
            close(world, period, self.as_of)
        self.expect_invoices(world)


def register(scenario: Scenario, order: str) -> None:
    @test(
        f"the scenario {scenario.name}, its events {order}, comes to the expected sums",
        name=f"scenario_{scenario.name}_{order}",
        seconds=120,
    )
    def run(world: World) -> None:
        lines = ORDERS[order](scenario.lines, world.random)
        apply(world, scenario.accounts)
        meter(world, "events.ndjson", lines, scenario.as_of)
        scenario.bill(world)


def register_steps(scenario: Scenario) -> None:
    @test(
        f"the scenario {scenario.name}: what is metered after a closing counts in usage at once",
        name=f"scenario_{scenario.name}_usage",
        seconds=120,
    )
    def all_metered(world: World) -> None:
        apply(world, scenario.accounts)
        lines = scenario.lines
        meter(world, "events.ndjson", world.random.sample(lines, len(lines)), scenario.as_of)
        scenario.expect_usage(world)

    for order in ORDERS:
        register_steps_in(scenario, order)


def register_steps_in(scenario: Scenario, order: str) -> None:
    @test(
        f"the scenario {scenario.name}, each part {order}: later invoices adjust closed periods,"
        " to the cent",
        name=f"scenario_{scenario.name}_steps_{order}",
        seconds=120,
    )
    def steps(world: World) -> None:
        apply(world, scenario.accounts)
        for step, argument in scenario.steps:
            if step == "meter":
                lines = ORDERS[order](lines_of(scenario.folder / argument), world.random)
                meter(world, argument, lines, scenario.as_of)
            else:
                close_as_previewed(world, scenario, argument)
        scenario.expect_usage(world)
        scenario.expect_invoices(world)


SHOWN = [
    *("usage", "lines", "subtotal", "total"),
    *("included_credit_minutes", "granted_credit_minutes", "purchased_credit_minutes"),
]


def close_as_previewed(world: World, scenario: Scenario, period: str) -> None:
    """What an account's preview shows is what the closing issues, adjustments and all."""
    previews = {}
    for account in scenario.accounts["accounts"]:
        preview = world.json(
            *("invoices", "preview", account["id"], "--period", period),
            *("--as-of", iso(scenario.as_of)),
        )
        if preview["usage"] or preview["lines"]:
            previews[account["id"]] = {name: preview[name] for name in SHOWN}
    close(world, period, scenario.as_of)
    issued = {
        invoice["account"]: {name: invoice[name] for name in SHOWN}
        for invoice in invoices(world, period, scenario.as_of)
    }
    expect_same(previews, issued, f"previews of {period}")


for scenario in map(Scenario, SCENARIOS):
    if (scenario.folder / "steps.json").exists():
        register_steps(scenario)
    else:
        for order in ORDERS:
            register(scenario, order)


@test("the oracle itself agrees with every scenario")
def oracle_agrees(world: World) -> None:
    for folder in SCENARIOS:
        problem = oracle.check(folder)
        expect(problem is None, f"{folder.name}: {problem}")


@test("the worked example of the price list is estimated at $1,223.57")
def worked_example_estimate(world: World) -> None:
    ran = world.tally(
        *("estimate", "--plan", "scale", "--size", "nano"),
        *("--vms", 80, "--hours", 3, "--days", 30),
    )
    expect("1223.57" in ran.stdout.replace(",", ""), f"expected 1223.57\n{ran}")
    expect("without grants and tax" in ran.stderr, f"expected what it takes for granted\n{ran}")


@test("the worked example, metered and billed, comes to $1,223.57")
def worked_example_bill(world: World) -> None:
    scenario = next(Scenario(f) for f in SCENARIOS if f.name == "worked-example")
    apply(world, scenario.accounts)
    meter(world, "events.ndjson", scenario.lines, scenario.as_of)
    close(world, scenario.expected["periods"][0], scenario.as_of)
    [invoice] = invoices(world, scenario.expected["periods"][0], scenario.as_of)
    expect_same("1223.57", invoice["total"], "the total")
