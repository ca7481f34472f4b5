# SPDX-License-Identifier: Apache-2.0
"""What is read over HTTP: usage, runs, credits, accounts, invoices, estimates."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from datetime import datetime, timezone
from functools import cache
from random import Random
from typing import Any
from urllib.parse import quote

from billing import apply, credits
from harness import World, expect, expect_same, test
from histories import World as History
from histories import iso
from histories import world as draw
from oracle import DEFAULT_CATALOG, Ledger
from oracle_decode import DAY, MINUTE, instant_of, midnight
from oracle_rate import days_of, next_period
from oracle_usage import Catalog, Run, minutes
from serving import Client, Reply, Server, serve

HOUR = 60 * MINUTE
WINDOWS = ("hour", "day", "month", "total")
GROUPS = ("none", "size", "vm")


def months_ago(count: int) -> str:
    """A period before the current one; the server's clock is the real one."""
    now = datetime.now(timezone.utc)
    months = now.year * 12 + now.month - 1 - count
    return f"{months // 12}-{months % 12 + 1:02}"


def now_us() -> int:
    return int(datetime.now(timezone.utc).timestamp()) * 1_000_000


def metered(world: World, random: Random, accounts: int) -> tuple[History, Ledger]:
    """Histories of some months ago; what is open then still is."""
    history = draw(random, months_ago(4), accounts, DEFAULT_CATALOG, bad=False)
    apply(world, history.accounts)
    world.tally("meter", "--file", world.write("events.ndjson", history.lines))
    ledger = Ledger(Catalog(history.catalog), history.ids)
    ledger.meter(history.lines, history.as_of + 400 * DAY)
    return history, ledger


def path(account: str, what: str) -> str:
    return f"/v1/accounts/{quote(account, safe='')}/{what}"


def ok(reply: Reply) -> Any:
    expect(reply.status == 200, str(reply))
    return reply.json


# ---- usage, the obvious way ----


def window_of(window: str, at: int, start: int, end: int) -> tuple[int, int]:
    if window == "total":
        return start, end
    if window == "hour":
        return max(at - at % HOUR, start), min(at - at % HOUR + HOUR, end)
    if window == "day":
        return max(at - at % DAY, start), min(at - at % DAY + DAY, end)
    first, following = month_of(at // DAY)
    return max(first, start), min(following, end)


@cache
def month_of(day: int) -> tuple[int, int]:
    period = iso(day * DAY)[:7]
    return midnight(days_of(period)[0]), midnight(days_of(next_period(period))[0])


Minute = tuple[int, str, str, int]  # when it begins, size, VM, credit-minutes


def all_minutes(ledger: Ledger, runs: list[Run]) -> list[Minute]:
    rate = cache(ledger.catalog.rate)
    return [
        (run.start + k * MINUTE, size, run.vm, rate(size, day))
        for run in runs
        for k, (day, size) in enumerate(minutes(run, ledger.catalog))
    ]


def expected_rows(
    counted: list[Minute], start: int, end: int, window: str, group: str
) -> list[dict[str, Any]]:
    cells: dict[tuple[int, int, str], list[int]] = defaultdict(lambda: [0, 0])
    for at, size, vm, cost in counted:
        if start <= at < end:
            named = {"none": "", "size": size, "vm": vm}[group]
            cell = cells[(*window_of(window, at, start, end), named)]
            cell[0] += 1
            cell[1] += cost
    key = {} if group == "none" else {group: None}
    return [
        {"start": first, "end": last}
        | {member: named for member in key}
        | {"minutes": count, "credit_minutes": cm, "credits": credits(cm)}
        for (first, last, named), (count, cm) in sorted(cells.items())
    ]


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their instants as numbers."""
    return [row | {member: instant_of(row[member]) for member in ("start", "end")} for row in rows]


def csv_rows(reply: Reply) -> list[dict[str, Any]]:
    expect(reply.status == 200 and reply.media_type == "text/csv", str(reply))
    text = reply.body.decode()
    expect(text.endswith("\r\n") and "\n" not in text.replace("\r\n", ""), "lines end with CRLF")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for row in rows:
        row["minutes"], row["credit_minutes"] = int(row["minutes"]), int(row["credit_minutes"])
    return rows


def usage(client: Client, account: str, form: str = "application/json", **query: Any) -> Reply:
    return client.get(path(account, "usage"), query=query, headers={"Accept": form})


@test("usage in all windows and groups, as JSON and CSV, is the oracle's and the command's",
      seconds=180)
def reads_usage(world: World) -> None:
    random = world.random
    history, ledger = metered(world, random, 8)
    tomorrow = now_us() + DAY
    first = midnight(days_of(history.periods[0])[0])
    end = midnight(days_of(next_period(history.periods[1]))[0])
    with serve(world) as server:
        client = server.client("finance")
        every = ledger.runs(tomorrow)
        for account in history.ids:
            runs = [run for run in every if run.account == account]
            counted = all_minutes(ledger, runs)
            for window in WINDOWS:
                for group in GROUPS:
                    a, b = sorted(random.sample(range(first - DAY, end + DAY), 2))
                    start, stop = random.choice(
                        [(first, end), (a, b), (a - a % DAY, b - b % DAY + DAY), (first - DAY, b)]
                    )
                    check_usage(world, client, counted, account, window, group, start, stop)


def check_usage(
    world: World, client: Client, counted: list[Minute], account: str, window: str, group: str,
    start: int, stop: int,
) -> None:
    what = f"usage of {account} by {window} and {group}, {iso(start)} to {iso(stop)}"
    query = {"from": iso(start), "to": iso(stop), "window": window, "group_by": group}
    got = ok(usage(client, account, **query))
    horizon = instant_of(got["data_through"])
    known = [minute for minute in counted if minute[0] < horizon]  # open runs go on
    expected = expected_rows(known, start, stop, window, group)
    expect_same(expected, plain(got["rows"]), what)
    sums = [sum(row[name] for row in expected) for name in ("minutes", "credit_minutes")]
    total = {"minutes": sums[0], "credit_minutes": sums[1], "credits": credits(sums[1])}
    expect_same(total, got["total"], f"total of {what}")
    expect_same((account, window), (got["account"], got["window"]), what)
    expect_same((start, stop), (instant_of(got["from"]), instant_of(got["to"])), what)
    if stop > horizon and len(known) < len(counted):
        return  # what runs has gone on meanwhile
    rows = csv_rows(usage(client, account, "text/csv", **query))
    expect_same(expected, plain(rows), f"{what}, as CSV")
    told = world.json(
        "usage", account, "--from", iso(start), "--to", iso(stop), "--window", window,
        "--group-by", group, "--as-of", got["data_through"],
    )
    expect_same(told["rows"], got["rows"], f"{what}, by the command")
    expect_same(told["total"], got["total"], f"total of {what}, by the command")


@test("usage has its defaults, refuses what makes no sense, and more than 100,000 rows as JSON",
      seconds=120)
def reads_usage_limits(world: World) -> None:
    vms = [f"-vm-{n}" for n in range(150)]
    start = midnight(days_of(months_ago(1))[0])
    stop = midnight(days_of(months_ago(0))[0])
    apply(world, {"accounts": [account("acme"), account("empty")]})
    events = [event("acme", vm, "started", start, size="nano") for vm in vms]
    events += [event("acme", vm, "stopped", stop) for vm in vms]
    world.tally("meter", "--file", world.write("events.ndjson", events))
    with serve(world) as server:
        client = server.client("customer", "acme")
        for query, status in [
            ({"from": "2026-02-01", "to": "2026-02-01"}, 400),
            ({"from": "2026-02-02", "to": "2026-02-01"}, 400),
            ({"from": "yesterday"}, 400), ({"window": "year"}, 400), ({"group_by": "plan"}, 400),
            ({"limit": "5"}, 400), ({"from": "2000-01-01", "to": "2199-12-31"}, 200),
        ]:
            reply = client.get(path("acme", "usage"), query=query)
            expect_same(status, reply.status, f"{query}: {reply}")
        current = ok(client.get(path("acme", "usage")))
        expect_same((iso(stop)[:10], []), (current["from"][:10], current["rows"]), "by default")
        query = {"from": iso(start), "to": iso(stop), "window": "hour", "group_by": "vm"}
        reply = usage(client, "acme", **query)
        expect_same((400, "too-many-rows"), (reply.status, reply.problem), str(reply))
        hours = (stop - start) // HOUR
        rows = csv_rows(usage(client, "acme", "text/csv", **query))
        expect_same(150 * hours, len(rows), "rows of CSV")
        expect_same({"'" + vm for vm in vms}, {row["vm"] for row in rows}, "VMs are no formulas")
        order = [(row["start"], row["vm"]) for row in rows]
        expect_same(sorted(order), order, "order of rows")
        ever = {"from": "2000-01-01", "to": "2199-12-31", "window": "hour", "group_by": "none"}
        expect_same(hours, len(ok(usage(client, "acme", **ever))["rows"]), "hours of all time")
        query["window"] = "total"
        expect_same(150, len(ok(usage(client, "acme", **query))["rows"]), "rows of the total")
        nothing = ok(server.client("finance").get(path("empty", "usage"), query=ever))
        expect_same(([], 0), (nothing["rows"], nothing["total"]["minutes"]), "nothing")
        check_strangers(server, "usage")


def account(identity: str, **more: Any) -> dict[str, Any]:
    return {"id": identity, "name": f"The {identity.title()} Company",
            "subscriptions": [{"plan": "scale", "from": "2020-01-01"}]} | more


_events = 0


def event(account: str, vm: str, kind: str, at: int, **data: Any) -> bytes:
    global _events
    _events += 1
    return json.dumps({
        "specversion": "1.0", "id": f"e{_events}", "source": "/reads", "type": f"vm.{kind}",
        "subject": vm, "time": iso(at), "data": {"account": account, **data},
    }).encode()


def check_strangers(server: Server, what: str) -> None:
    """Another's account and one that does not exist look the same to a customer."""
    customer = server.client("customer", "acme")
    other = customer.get(path("empty", what))
    missing = customer.get(path("nobody", what))
    for reply in (other, missing):
        expect_same((404, "not-found"), (reply.status, reply.problem), str(reply))
    same = [r.text.replace("empty", "X").replace("nobody", "X") for r in (other, missing)]
    for member in ("title", "detail", "type"):
        expect_same(json.loads(same[0]).get(member), json.loads(same[1]).get(member), member)
    expect_same(404, server.client("finance").get(path("nobody", what)).status, what)
    expect_same(403, server.client("orchestrator").get(path("acme", what)).status, what)


# ---- runs ----


def held_last(run: Run) -> str:
    """A size taken in the moment in which the run ends is not held any more."""
    held = [size for start, size in run.sizes if start < run.end]
    return held[-1] if held else run.size


def expected_runs(ledger: Ledger, account: str, horizon: int) -> list[dict[str, Any]]:
    runs = [run for run in ledger.runs(horizon) if run.account == account]
    nth: dict[tuple[str, int], int] = defaultdict(int)
    shown = []
    for run in runs:
        counted = all_minutes(ledger, [run])
        shown.append((run.start, run.vm, nth[run.vm, run.start], {
            "vm": run.vm, "start": run.start, "end": run.end if run.ended_by else None,
            "size": held_last(run), "minutes": len(counted),
            "credit_minutes": sum(cost for *_, cost in counted), "ended_by": run.ended_by,
        }))
        nth[run.vm, run.start] += 1
    shown.sort(key=lambda run: run[:3], reverse=True)
    return [run for *_, run in shown]


def all_pages(client: Client, route: str, member: str, between=None, **query: Any) -> list[Any]:
    rows: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = ok(client.get(route, query=query | cursor))
        expect(len(page[member]) <= query.get("limit", 100), "no page is over its limit")
        rows += page[member]
        if page["next_cursor"] is None:
            return rows
        cursor = {"cursor": page["next_cursor"]}
        if between:
            between()


def without_open(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Open runs go on between two answers."""
    still = {"minutes": None, "credit_minutes": None}
    return [run if run["ended_by"] else run | still for run in runs]


def plain_runs(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        run | {"start": instant_of(run["start"]), "end": run["end"] and instant_of(run["end"])}
        for run in runs
    ]


@test("pages of runs put together are the oracle's runs, whatever their limit and filter",
      seconds=120)
def reads_runs(world: World) -> None:
    random = world.random
    history, ledger = metered(world, random, 25)
    with serve(world) as server:
        client = server.client("finance")
        for account in history.ids:
            route = path(account, "runs")
            page = ok(client.get(route, query={"limit": 1000}))
            expected = expected_runs(ledger, account, instant_of(page["data_through"]))
            if len(expected) <= 1000:
                expect_same(expected, plain_runs(page["runs"]), f"runs of {account}")
            expected = without_open(expected)
            for limit in (random.choice([1, 2, 3]) if len(expected) < 50 else 7, 50):
                got = without_open(plain_runs(all_pages(client, route, "runs", limit=limit)))
                expect_same(expected, got, f"runs of {account}, {limit} a page")
            if not expected:
                continue
            vm = random.choice(expected)["vm"]
            got = without_open(plain_runs(all_pages(client, route, "runs", limit=5, vm=vm)))
            expect_same([run for run in expected if run["vm"] == vm], got, f"of {account} {vm}")
            a = random.choice(expected)["start"] + random.choice([-1, 0, 1, HOUR])
            b = a + random.choice([1, DAY, 20 * DAY])
            query = {"limit": 5, "from": iso(a), "to": iso(b)}
            got = without_open(plain_runs(all_pages(client, route, "runs", **query)))
            overlap = [run for run in expected if overlaps(run, a, b)]
            expect_same(overlap, got, f"runs of {account} in {iso(a)} to {iso(b)}")


def overlaps(run: dict[str, Any], a: int, b: int) -> bool:
    return run["start"] < b and (run["start"] >= a or run["end"] is None or run["end"] > a)


@test("a cursor of runs stays where it is while new runs arrive, and is good for its account only")
def reads_runs_cursor(world: World) -> None:
    start = midnight(days_of(months_ago(1))[0])
    apply(world, {"accounts": [account("acme"), account("empty")]})

    def run(vm: str, n: int) -> list[bytes]:
        at = start + n * HOUR
        return [event("acme", vm, "started", at, size="nano"),
                event("acme", vm, "stopped", at + 10 * MINUTE)]

    events = [line for n in range(40) for line in run(f"vm-{n % 7}", n)]
    world.tally("meter", "--file", world.write("events.ndjson", events))
    news = iter(range(40, 400))

    def arrive() -> None:
        world.tally("meter", "--file", "-", input=b"\n".join(run("new", next(news))) + b"\n")

    with serve(world) as server:
        client = server.client("customer", "acme")
        route = path("acme", "runs")
        before = all_pages(client, route, "runs", limit=1000)
        expect_same(40, len(before), "runs")
        got = all_pages(client, route, "runs", between=arrive, limit=7)
        expect_same(before, got, "runs, while others begin")
        cursor = ok(client.get(route, query={"limit": 1}))["next_cursor"]
        changed = ("A" if cursor[0] != "A" else "B") + cursor[1:]
        for query in ({"cursor": changed}, {"cursor": "x"}, {"limit": 0}, {"limit": 1001},
                      {"limit": "many"}, {"vm": "a b"}, {"from": "2026-02-01", "to": "2026-02-01"}):
            expect_same(400, client.get(route, query=query).status, f"{query}")
        elsewhere = server.client("finance").get(path("empty", "runs"), query={"cursor": cursor})
        expect_same(400, elsewhere.status, "a cursor of another account")
        check_strangers(server, "runs")


# ---- billing ----


@test("credits, invoices, the upcoming one, accounts and estimates are what the commands say",
      seconds=120)
def reads_billing(world: World) -> None:
    last = months_ago(1)
    start = midnight(days_of(last)[0])
    grants = [{"id": "promo", "unit": "credit", "amount": "500", "from": "2020-01-01"},
              {"id": "usd", "unit": "usd", "amount": "500.00", "from": f"{last}-01"}]
    apply(world, {"accounts": [account("acme", grants=grants, spend_limit="2000.00"),
                               account("empty", name="Größe & Söhne"), account("beta")]})
    events = [line for n in range(30) for line in (
        event("acme", f"vm-{n}", "started", start, size="large"),
        event("acme", f"vm-{n}", "stopped", start + (n + 1) * HOUR))]
    events.append(event("acme", "now", "started", start + 28 * DAY, size="nano"))
    world.tally("meter", "--file", world.write("events.ndjson", events))
    for period in (months_ago(2), last):
        world.tally("invoices", "close", "--period", period, "--force")
    with serve(world) as server:
        check_credits(server, last)
        check_invoices(world, server, last)
        check_accounts(server)
        check_estimates(world, server)


def check_credits(server: Server, last: str) -> None:
    got = ok(server.client("customer", "acme").get(path("acme", "credits")))
    expect_same(("acme", months_ago(0)), (got["account"], got["period"]), "whose credits")
    expect_same("10.0000", got["per_hour_now"], "what runs burns")
    grants = {grant["id"]: grant for grant in got["grants"]}
    expect_same({"promo", "usd"}, set(grants), "grants")
    for grant in grants.values():
        drawn = sum(float(draw["amount"]) for draw in grant["draws"])
        expect(abs(float(grant["amount"]) - drawn - float(grant["balance"])) < 1e-6,
               f"amount, draws and balance of {grant}")
        expect_same([last], [draw["period"] for draw in grant["draws"]][-1:], "who drew")
    check_strangers(server, "credits")


def check_invoices(world: World, server: Server, last: str) -> None:
    finance = server.client("finance")
    customer = server.client("customer", "acme")
    listed = [invoice for period in (last, months_ago(2))
              for invoice in world.json("invoices", "list", "--period", period)
              if invoice["account"] == "acme"]
    for limit in (1, 100):
        got = all_pages(customer, path("acme", "invoices"), "invoices", limit=limit)
        expect_same(listed, got, "invoices, the newest first")
    number = listed[0]["number"]
    for name in (number, number + ".json"):
        expect_same(listed[0], ok(customer.get(f"/v1/invoices/{name}")), name)
    others = ok(finance.get(path("beta", "invoices")))["invoices"][0]["number"]
    replies = [customer.get(f"/v1/invoices/{n}") for n in (others, "INV-1999-000001")]
    for reply in replies:
        expect_same((404, "not-found"), (reply.status, reply.problem), str(reply))
    details = [reply.json["detail"].replace(name, "X")
               for reply, name in zip(replies, (others, "INV-1999-000001"))]
    expect_same(details[0], details[1], "what is said of another's invoice and a missing one")
    expect_same(others, ok(finance.get(f"/v1/invoices/{others}"))["number"], "for finance")
    upcoming = ok(customer.get(path("acme", "invoices/upcoming")))
    expect_same(("preview", months_ago(0)), (upcoming["status"], upcoming["period"]), "upcoming")
    told = world.json("invoices", "preview", "acme", "--period", months_ago(0))
    expect_same({kind: told[kind] for kind in told if kind not in ("usage", "total")}.keys(),
                {kind: upcoming[kind] for kind in upcoming if kind not in ("usage", "total")}.keys(),
                "members of the preview")
    expect_same(told["lines"][0], upcoming["lines"][0], "first line of the preview")
    for what in ("invoices", "invoices/upcoming"):
        check_strangers(server, what)


def check_accounts(server: Server) -> None:
    finance = server.client("finance")
    got = all_pages(finance, "/v1/accounts", "accounts", limit=2)
    expect_same(["acme", "beta", "empty"], [row["id"] for row in got], "accounts")
    expect_same(("scale", False, "2000.00"),
                (got[0]["plan"], got[0]["suspended"], got[0]["spend_limit"]), "an account")
    for query, ids in [("ACM", ["acme"]), ("größe", ["empty"]), ("& s", ["empty"]),
                       ("company", ["acme", "beta"]), ("%", []), ("", ["acme", "beta", "empty"])]:
        found = ok(finance.get("/v1/accounts", query={"query": query}))["accounts"]
        expect_same(ids, [row["id"] for row in found], f"accounts that match {query!r}")
    expect_same(403, server.client("customer", "acme").get("/v1/accounts").status, "a customer")


def check_estimates(world: World, server: Server) -> None:
    anyone = server.client(None)
    item = {"size": "nano", "vms": 80, "hours_per_day": "3", "days": 30}
    got = ok(anyone.post("/v1/estimate", {"plan": "scale", "items": [item]}))
    told = world.json("estimate", "--plan", "scale", "--size", "nano", "--vms", "80", "--hours",
                      "3", "--days", "30")
    expect_same(told, got, "the worked example")
    two = ok(anyone.post("/v1/estimate", {"plan": "scale", "items": [item, item]}))
    expect_same("144000.0000", two["credits"], "twice the worked example")
    for body in [
        {}, {"plan": "scale"}, {"plan": "none", "items": []}, {"plan": "scale", "items": {}},
        {"plan": "scale", "items": [], "more": 1}, {"plan": "scale", "items": [{}]},
        *[{"plan": "scale", "items": [item | bad]} for bad in (
            {"vms": "80"}, {"vms": -1}, {"vms": 1.5}, {"hours_per_day": 3}, {"days": 32},
            {"hours_per_day": "24.01"}, {"size": "giant"}, {"size": None}, {"colour": "red"})],
    ]:
        reply = anyone.post("/v1/estimate", body)
        expect_same((400, "bad-request"), (reply.status, reply.problem), f"{body}: {reply}")
        expect(reply.json.get("detail"), f"says what is wrong with {body}")
