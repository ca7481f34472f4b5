# SPDX-License-Identifier: Apache-2.0
"""Faults of settling that were found once: each had its own way to leave something unbilled, or to
refuse what changes nothing that is closed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from billing import apply, close, invoices, meter
from harness import Skipped, World, expect, expect_same, test
from histories import iso
from oracle import DEFAULT_CATALOG, instant_of
from oracle_decode import DAY, midnight
from oracle_rate import days_of, next_period
from settling import run_of
from small import event, first_of, now

OCTOBER = instant_of("2025-10-02T00:00:00Z")
NOVEMBER = instant_of("2025-11-02T00:00:00Z")
DECEMBER = instant_of("2025-12-02T00:00:00Z")
WAY_OUT = "use --retroactive"

Document = dict[str, Any]


def account(plan: str = "scale", overrides: Document | None = None, **more: Any) -> Document:
    subscription = {"plan": plan, "from": "2025-06-01", **({"overrides": overrides} if overrides else {})}
    return {"id": "acme", "name": "Acme", "subscriptions": [subscription], **more}


def save(world: World, document: Document, *more: Any, exit: int = 0) -> str:
    path = world.write("accounts.json", {"accounts": [document]})
    return world.tally("accounts", "apply", path, *more, exit=exit).stderr


def catalogue(world: World, content: Document, *more: Any, exit: int = 0) -> str:
    path = world.write("catalog.json", content)
    return world.tally("catalog", "apply", path, *more, exit=exit).stderr


def with_version(begins: str) -> Document:
    """The default catalogue, and from a day on everything at another price."""
    versions = DEFAULT_CATALOG["versions"]
    return {"versions": [*versions, {**versions[-1], "from": begins, "credit_price": "0.02"}]}


def adjustments(world: World, period: str, as_of: int) -> list[tuple[str, str]]:
    return [
        (line["period"], line["amount"])
        for invoice in invoices(world, period, as_of)
        if invoice["status"] == "issued" and "credits" not in invoice
        for line in invoice["lines"]
        if line["kind"] == "adjustment"
    ]


def marks(world: World) -> int:
    return int(world.psql("SELECT count(*) FROM unsettled"))


def clean(world: World, as_of: int, *more: Any) -> None:
    world.tally("audit", "--as-of", iso(as_of), *more)


# ---- usage ----


@test("what comes for a month that was closed by a clock ahead of the database's is adjusted, again and"
      " again, and audits call it pending until then")
def settling_ahead_of_the_clock(world: World) -> None:
    began = first_of(now())
    if now() - began < timedelta(minutes=10):
        raise Skipped("a month has just begun")
    save(world, account("enterprise"))
    first, month = (first_of(now(), back).strftime("%Y-%m") for back in (1, 0))
    period = first

    def used(vm: str, start: datetime) -> None:  # 0.39627 each
        at = start + timedelta(minutes=2)  # what happens before may reach into the month before
        lines = [event("started", at, "acme", vm, "xlarge"),
                 event("stopped", at + timedelta(minutes=5), "acme", vm)]
        world.tally("meter", "--file", world.write("events.ndjson", lines))

    def closed() -> list[tuple[str, str]]:
        nonlocal period, as_of
        closing, period = period, next_period(period)
        as_of = midnight(days_of(period)[0]) + DAY
        close(world, closing, as_of)
        return adjustments(world, closing, as_of)

    as_of = 0
    used("first", first_of(now(), 1))
    expect_same(([], []), (closed(), closed()), "adjustments of last month's invoice and of this one's")
    for vm, amount in (("late", "0.40"), ("later", "0.39")):
        used(vm, began)
        clean(world, as_of, "--pending-ok")
        expect_same([(month, amount)], closed(), f"adjustments for {vm}")
        clean(world, as_of)
    # Issuing last month's invoice anew settles what has come by then, and no more.
    [invoice] = invoices(world, first, as_of)
    world.tally("invoices", "void", invoice["number"], "--reason", "wrong")
    close(world, first, as_of, "--account", "acme")
    used("last", began)
    clean(world, as_of, "--pending-ok")
    expect_same([(month, "0.40")], closed(), "adjustments for last")
    clean(world, as_of)


@test("what happens at the first instant of the books' first month has nothing rated anew: none is closed")
def settling_at_the_first_instant(world: World) -> None:
    apply(world, {"accounts": [{**account("enterprise"), "id": f"a-{n:04}"} for n in range(2001)]})
    midnight_run = [
        event(kind, first_of(now(), 1) + timedelta(minutes=at), "a-2000", "vm", size)
        for kind, at, size in (("started", 0, "nano"), ("stopped", 600, None))
    ]
    world.tally("meter", "--file", world.write("events.ndjson", midnight_run))
    period = first_of(now(), 1).strftime("%Y-%m")
    reaching = world.psql(f"SELECT count(*) FROM unsettled WHERE since < '{period}-01'")
    expect_same("1", reaching, "marks that reach into the month before")
    told = world.tally("invoices", "close", "--period", period, "--force").stderr
    expect("1 invoice issued" in told and "anew" not in told, told)


# ---- terms ----


def billed(world: World, document: Document) -> None:
    """September is closed, with two hours of use."""
    world.fresh()
    save(world, document)
    meter(world, "events.ndjson", run_of("acme", "vm", "2025-09-03", 120), OCTOBER)
    close(world, "2025-09", OCTOBER)


def nothing_closed_changes(world: World, document: Document, begins: str) -> Document:
    """The account's other name, and a catalogue for later, are accepted."""
    renamed = {**document, "name": document["name"] + "!"}
    save(world, renamed)
    catalogue(world, with_version(begins))
    return renamed


def hindsight(world: World, versions: list[Document], words: list[str]) -> None:
    """Each but the first version would change September; what is said when each is refused. The second
    is let through; whether that was settled or not, others are accepted and refused as before."""
    first, second, third = versions
    billed(world, first)
    refused = save(world, second, exit=3)
    expect(words[0] in refused and WAY_OUT in refused, refused)
    save(world, second, "--retroactive")
    for begins, closing, as_of in (("2199-01-01", "2025-10", NOVEMBER), ("2199-02-01", "2025-11", DECEMBER)):
        second = nothing_closed_changes(world, second, begins)
        refused = save(world, {**third, "name": second["name"]}, exit=3)
        expect(words[1] in refused and WAY_OUT in refused, refused)
        close(world, closing, as_of)
        clean(world, as_of)


@test("after a tax that was changed in hindsight all is accepted that changes no closed month, and"
      " nothing that does")
def guard_after_tax(world: World) -> None:
    hindsight(
        world, [account(tax_rate_bps=1900), account(tax_rate_bps=2000), account(tax_rate_bps=2100)],
        ["account acme: the closed period 2025-09 would be rated differently: total 202.30 would be 204.00",
         "account acme: the closed period 2025-09 would be rated differently: total 204.00 would be 205.70"])


@test("the same after a grant in usd was lowered below what invoices have drawn from it")
def guard_after_lowered_grant(world: World) -> None:
    def granted(amount: str) -> Document:
        return account(grants=[{"id": "gw", "unit": "usd", "amount": amount, "from": "2025-09-01"}])

    hindsight(world, [granted("25.00"), granted("20.00"), granted("15.00")],
              ["grant gw would be 20.00 usd, of which invoices have drawn 25.00",
               "grant gw would be 15.00 usd, of which invoices have drawn 25.00"])


@test("the same after more credits were included, which nobody needed")
def guard_after_allowance(world: World) -> None:
    hindsight(
        world, [account(), account(overrides={"included_credits": 5000}),
                account(overrides={"included_credits": 6000})],
        ["the closed period 2025-09 would be rated differently: included_credit_minutes 66000 would be 300000",
         "the closed period 2025-09 would be rated differently: included_credit_minutes 300000 would be 360000"])


@test("a catalogue that changes nothing that was billed is accepted, and changes what came too late to be seen")
def guard_catalogue_unseen(world: World) -> None:
    billed(world, account())
    late = [line.replace(b'"medium"', b'"xlarge"') for line in run_of("acme", "late", "2025-09-04", 160)]
    meter(world, "late.ndjson", late, OCTOBER)  # within what the plan includes
    close(world, "2025-10", NOVEMBER)
    expect_same(([], 0), (adjustments(world, "2025-10", NOVEMBER), marks(world)), "adjustments and marks")
    content = json.loads(json.dumps(DEFAULT_CATALOG))
    for version in content["versions"]:
        version["sizes"]["xlarge"]["credits_per_hour"] *= 2
    catalogue(world, content)
    clean(world, NOVEMBER, "--pending-ok")
    close(world, "2025-11", DECEMBER)
    # 160 credits, and 160 minutes of 640 an hour, less the 1100 that are included
    expect_same([("2025-09", "11.39")], adjustments(world, "2025-11", DECEMBER), "adjustments")
    clean(world, DECEMBER)


@test("a catalogue that differs in days to come alone has no account rated anew")
def guard_catalogue_to_come(world: World) -> None:
    billed(world, account())
    catalogue(world, with_version("2199-01-01"), "--retroactive")
    expect_same(0, marks(world), "marks")
    catalogue(world, with_version("2025-09-30"), "--retroactive")
    expect_same(1, marks(world), "marks of one that reaches into September")


@test("a grant of credits that is made one of money leaves books that an audit finds nothing in")
def audit_of_changed_unit(world: World) -> None:
    def granted(unit: str, amount: str) -> Document:
        grant = {"id": "g", "unit": unit, "amount": amount, "from": "2025-09-01"}
        return account("enterprise", grants=[grant])

    billed(world, granted("credit", "100"))
    save(world, granted("usd", "1.00"), "--retroactive")
    meter(world, "more.ndjson", run_of("acme", "more", "2025-10-03", 120), NOVEMBER)
    close(world, "2025-10", NOVEMBER)
    draws = world.psql("SELECT unit, amount FROM grant_draw WHERE grant_id = 'g' ORDER BY number, unit")
    expect_same("0|6000\n0|-6000\n1|100", draws, "draws")
    clean(world, NOVEMBER)


@test("a clock of the database's that was set back by some seconds leaves nothing to find; by minutes, it does")
def audit_of_a_clock_set_back(world: World) -> None:
    save(world, account())
    save(world, account(tax_rate_bps=1900))
    catalogue(world, with_version("2199-01-01"))
    steps = {"account_history": "n.account = before.account", "catalog": "true"}
    for seconds, found in ((50, 0), (70, 2)):
        for table, same in steps.items():
            world.psql(f"UPDATE {table} n SET applied_at = before.applied_at - interval '{seconds} s'"
                       f" FROM {table} before WHERE {same} AND before.revision = n.revision - 1")
        world.psql("UPDATE account SET applied_at = h.applied_at FROM account_history h WHERE h.revision = 2")
        told = world.tally("audit", exit=min(found, 1)).stdout
        expect_same(found, told.count("was applied before the one before it"), told)
