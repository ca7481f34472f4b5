# SPDX-License-Identifier: Apache-2.0
"""What an explanation must say: recomputed from the lines that were metered, and from itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from billing import credits
from harness import World, expect, expect_same
from oracle import Ledger
from oracle_decode import DAY, Event, day_of, decode, instant_of, midnight
from oracle_rate import cents, days_of, money, rounded
from oracle_usage import Run, minutes

Explanation = dict[str, Any]
Place = tuple[str, int, int]  # a file's name, 0 and the line; or topic, partition and offset
OWN = ("base_fee", "credits", "discount", "minimum")


def place_of(thing: dict[str, Any]) -> Place:
    if "topic" in thing:
        return thing["topic"], thing["partition"], thing["offset"]
    return Path(thing["file"]).name, 0, thing["line"]


def in_file(path: Path) -> dict[Place, bytes]:
    """What stands where in a file."""
    return {(path.name, 0, n): line for n, line in enumerate(path.read_bytes().splitlines(), 1)}


def explain(world: World, number: str) -> Explanation:
    return world.json("explain", number)


class Check:
    """Everything that can be held against one invoice's explanation."""

    def __init__(
        self, explained: Explanation, invoice: dict[str, Any], ledger: Ledger,
        stands: dict[Place, bytes],
    ) -> None:
        self.x, self.invoice, self.ledger, self.stands = explained, invoice, ledger, stands
        self.number, self.account = invoice["number"], invoice["account"]
        self.horizon = instant_of(explained["horizon"])
        self.adjustments = [l for l in explained["lines"] if l["kind"] == "adjustment"]

    def all(self) -> None:
        self.head()
        self.events()
        self.runs()
        self.nothing_is_missing()
        self.sums()
        rated(self.x, self.invoice["period"], -1 if "credits" in self.invoice else 1, self.number)

    def shown(self) -> set[date]:
        """The days whose runs are to be there."""
        changed = {
            date.fromisoformat(change["date"])
            for line in self.adjustments for change in line["explained"]["changes"]
        }
        return set(days_of(self.invoice["period"])) | changed

    def head(self) -> None:
        for name in ("number", "account", "name", "period", "issued_at", "status", "subtotal", "total"):
            expect_same(self.invoice[name], self.x[name], f"{name} of {self.number}")
        plain = [{k: v for k, v in l.items() if k != "explained"} for l in self.x["lines"]]
        expect_same(self.invoice["lines"], plain, f"lines of {self.number}")

    # ---- events ----
    def event_at(self, thing: dict[str, Any]) -> Event:
        where = place_of(thing)
        expect(where in self.stands, f"{self.number}: nothing stands at {where}")
        return decode(self.stands[where])

    def events(self) -> None:
        """Each stands where it is said to, and says there what is said of it."""
        for run in self.x["runs"]:
            for told in run["events"]:
                event = self.event_at(told)
                got = (self.account, run["vm"], instant_of(told["time"]))
                expect_same((event.account, event.vm, event.time), got, f"an event of {self.number}")
                if told["type"] is None:
                    expect(told["did"] == "nothing", "a conflict that did something")
                    expect(self.stands[place_of(told)] in self.conflicts(), f"{told} is no conflict")
                    continue
                got = (told["source"], told["id"], told["type"])
                expect_same((event.source, event.id, f"vm.{event.kind}"), got, "the event there")
                expect_same("why" in told, told["did"] == "nothing", f"a reason for {told}")
                if "retracted_by" in told:
                    by = self.event_at(told["retracted_by"])
                    expect_same(event.identity, by.target, f"what {told} was retracted by")
                    expect(told["did"] == "nothing", f"{told} was retracted")

    def conflicts(self) -> list[bytes]:
        return [line for reason, line in self.ledger.dead if reason == "conflict"]

    def nothing_is_missing(self) -> None:
        """Every event of the shown days is there, once; twice where it ended a run and opened one."""
        shown = self.shown()
        listed: Counter[tuple[str, Any]] = Counter()
        twice: Counter[tuple[str, Any]] = Counter()
        for run in self.x["runs"]:
            for told in run["events"]:
                if told["type"] is None:
                    continue
                key = (run["vm"], (told["source"], told["id"]))
                listed[key] += 1
                twice[key] += told["did"] == "ended"
                twice[key] += told["did"] in ("opened", "reopened")
                if day_of(instant_of(told["time"])) not in shown:
                    expect(run["start"] is not None, f"{told} is of no run and of no shown day")
        for (account, vm), events in self.ledger.vms.items():
            if account != self.account:
                continue
            for event in events.values():
                counts = event.kind != "retracted" and event.time <= self.horizon
                if counts and day_of(event.time) in shown:
                    expect(listed[vm, event.identity], f"{self.number}: {event} is missing")
        for key, count in listed.items():
            expect(count == 1 or count == twice[key] == 2, f"{self.number}: {key} {count} times")

    # ---- runs ----
    def runs(self) -> None:
        shown = self.shown()
        ours = [run for run in self.ledger.runs(self.horizon) if run.account == self.account]
        why = self.before_events_of_no_run(ours)
        expected = [
            self.run(run, shown) for run in ours
            if (run.vm, run.start, run.end, run.ended_by) in why or any(lies_on(run, day) for day in shown)
        ]
        got = []
        for run in self.x["runs"]:
            if run["start"] is None:
                continue
            instants = [run[name] and instant_of(run[name]) for name in ("start", "end")]
            got.append([run["vm"], *instants, run["ended_by"], run["run"], run["days"]])
            first, last = run["events"][0], run["events"][-1]
            expect(first["did"] in ("opened", "reopened"), f"{first} opened {run['start']}")
            expect_same(run["start"], first["time"], "when a run was opened")
            if run["ended_by"] in ("hibernated", "stopped", "superseded"):
                ended = [told for told in run["events"] if told["did"] == "ended"]
                expect_same([run["end"]], [told["time"] for told in ended], f"what ended {run['start']}")
            expect_same(sum(day["minutes"] for day in run["days"]), run["minutes"], "a run's minutes")
        expect_same(expected, got, f"runs of {self.number}")

    def before_events_of_no_run(self, ours: list[Run]) -> set[tuple[str, int, int, str]]:
        """Where events belong to no run, the run before them stands before them."""
        found, shown = set(), self.shown()
        for before, entry in zip([None, *self.x["runs"]], self.x["runs"]):
            if entry["start"] is not None:  # behind its end, where it turned out to be lost later on
                if entry["ended_by"] and any(day_of(instant_of(e["time"])) in shown for e in entry["events"]):
                    start, end = (instant_of(entry[name]) for name in ("start", "end"))
                    found.add((entry["vm"], start, end, entry["ended_by"]))
                continue
            vm, at = entry["vm"], instant_of(entry["events"][0]["time"])
            if before is not None and before["vm"] == vm:
                start, end = (instant_of(before[name]) for name in ("start", "end"))
                found.add((vm, start, end, before["ended_by"]))
            else:
                earlier = [run for run in ours if run.vm == vm and run.start < at]
                expect_same([], earlier, f"runs of {vm} before {entry} that are not shown")
        return found

    def run(self, run: Run, shown: set[date]) -> list[Any]:
        cells = Counter(cell for cell in minutes(run, self.ledger.catalog) if cell[0] in shown)
        days = [
            {"date": day.isoformat(), "size": size, "minutes": count,
             "credit_minutes": count * self.ledger.catalog.rate(size, day)}
            for (day, size), count in sorted(cells.items())
        ]
        end = run.end if run.ended_by else None
        return [run.vm, run.start, end, run.ended_by, run.name, days]

    # ---- sums ----
    def sums(self) -> None:
        """The runs make up what was rated, but for the differences that are named."""
        made: Counter[tuple[str, str]] = Counter()
        for run in self.x["runs"]:
            for day in run["days"]:
                made[day["date"], day["size"]] += day["minutes"]
        kept = Counter(use_of(self.x["days"]))
        for line in self.adjustments:
            changes = line["explained"]["changes"]
            dates = {change["date"] for change in changes}
            if line["period"] != self.invoice["period"]:
                now = use_of(line["explained"]["now"]["days"])
                kept.update({key: count for key, count in now.items() if key[0] in dates})
        expected = {key: (kept[key], made[key]) for key in kept | made if kept[key] != made[key]}
        got = {
            (d["date"], d["size"]): (d["rated_minutes"], d["run_minutes"])
            for d in self.x["differences"]
        }
        expect_same(expected, got, f"differences of {self.number}")
        totals = self.x["totals"]
        expect_same(not got, totals["complete"], "whether the runs make up all")
        expect_same(sum(made.values()), totals["minutes"], "minutes in all")
        expect_same(sum(len(run["events"]) for run in self.x["runs"]), totals["events"], "events")
        expect_same(sum(run["start"] is not None for run in self.x["runs"]), totals["runs"], "runs")


def lies_on(run: Run, day: date) -> bool:
    return run.start < midnight(day) + DAY and run.end >= midnight(day)


def use_of(days: Iterable[dict[str, Any]]) -> dict[tuple[str, str], int]:
    use: Counter[tuple[str, str]] = Counter()
    for day in days:
        for size in day["sizes"]:
            use[day["date"], size["size"]] += size["minutes"]
    return use


# ---- amounts ----


def rated(x: dict[str, Any], period: str, sign: int, what: str) -> None:
    """Days and lines follow from the terms and the use."""
    expect_same([day.isoformat() for day in days_of(period)], [d["date"] for d in x["days"]], "days")
    pool = x["included_credit_minutes"]
    terms = x["terms"]
    active = [t for t in terms if t["active"]]
    share = [Fraction(t["included_credits"]) * 60 * length(t) / len(x["days"]) for t in active]
    expect_same(sum(map(rounded, share)), pool, f"{what}: the pool")
    for day in x["days"]:
        term = terms[day["term"]]
        expect(term["from"] <= day["date"] < term["to"], f"{what}: {day} on {term}")
        used = sum(size["minutes"] * size["credits_per_hour"] for size in day["sizes"])
        taken = min(used, pool)
        pool -= taken
        bought = used - taken - day["granted_credit_minutes"]
        expect_same(
            (used, taken, bought),
            tuple(day[f"{name}_credit_minutes"] for name in ("used", "pool", "purchased")),
            f"{what}: {day['date']}",
        )
    for grant in x["grants"]:
        left = Fraction(grant["before"]) - Fraction(grant["drawn"])
        expect(abs(left - Fraction(grant["left"])) < Fraction(1, 1000), f"{what}: {grant}")
    drawn = sum(rounded(Fraction(g["drawn"]) * 60) for g in x["grants"] if g["unit"] == "credit")
    granted = sum(day["granted_credit_minutes"] for day in x["days"])
    expect_same(granted, drawn, f"{what}: what credit grants gave")
    before = 0
    for line in x["lines"]:
        amount = amount_of(line, x, before)
        expect_same(money(sign * amount), line["amount"], f"{what}: {line}")
        before += amount


def length(term: dict[str, Any]) -> int:
    return (date.fromisoformat(term["to"]) - date.fromisoformat(term["from"])) // timedelta(days=1)


def amount_of(line: dict[str, Any], x: dict[str, Any], before: int) -> int:
    """A line's cents, from what is said of how they came about; `before`: of the lines before."""
    why, kind = line["explained"], line["kind"]
    exact = {"base_fee": base_fee, "credits": bought, "discount": bought, "tax": tax}.get(kind)
    if exact is not None:
        amount = exact(line, x, before)
        cut = Fraction(why["unrounded"]) * 100
        expect(0 <= abs(amount) - abs(cut) < Fraction(1, 10**9), f"{cut} is not {amount}: {line}")
        return rounded(amount)
    if kind == "minimum":
        least = sum(
            rounded(Fraction(t["monthly_minimum"]) * 100 * length(t) / len(x["days"]))
            for t in x["terms"] if t["active"]
        )
        expect_same((money(least), money(before)), (why["minimum"], why["lines_before"]), "a minimum")
        return least - before
    if kind == "adjustment":
        return adjustment(line)
    if kind == "carry_forward":
        expect_same(money(before), why["due"], "what is carried forward")
        return -before
    grant = next(g for g in x["grants"] if g["id"] == line["grant"])
    expect_same((grant["before"], grant["left"]), (why["before"], why["left"]), "a grant's balance")
    return cents(why["left"]) - cents(why["before"])


def base_fee(line: dict[str, Any], x: dict[str, Any], _: int) -> Fraction:
    why = line["explained"]
    term = x["terms"][why["term"]]
    expect_same((term["base_fee"], length(term), len(x["days"]), term["version"]),
                (why["base_fee"], why["days"], why["of_days"], why["version"]), "a base fee")
    return Fraction(why["base_fee"]) * 100 * why["days"] / why["of_days"]


def bought(line: dict[str, Any], x: dict[str, Any], _: int) -> Fraction:
    why = line["explained"]
    term = x["terms"][why["term"]]
    for name in ("used", "pool", "granted", "purchased"):
        name += "_credit_minutes"
        of_days = sum(day[name] for day in x["days"] if day["term"] == why["term"])
        expect_same(of_days, why[name], f"{name} of {line}")
    expect_same(term["credit_price"], why["credit_price"], "the price")
    amount = Fraction(why["purchased_credit_minutes"], 60) * Fraction(why["credit_price"]) * 100
    if line["kind"] == "credits":
        expect_same(credits(why["purchased_credit_minutes"]), line["quantity"], "the quantity")
        return amount
    return -amount * term["credit_discount_bps"] / 10000


def tax(line: dict[str, Any], _: dict[str, Any], before: int) -> Fraction:
    why = line["explained"]
    expect_same(money(before), why["of"], "what is taxed")
    return Fraction(before * why["tax_rate_bps"], 10000)


def adjustment(line: dict[str, Any]) -> int:
    why = line["explained"]
    now, was = why["now"], why["was"]
    rated(now, line["period"], 1, f"now of {line['description']}")
    expect({l["kind"] for l in now["lines"]} <= set(OWN), f"lines of {line['description']}")
    expect_same(sum(cents(l["amount"]) for l in now["lines"]), cents(why["due"]), "what is due")
    expect_same(was is None, why["previous"] is None, "whether there was an invoice before")
    if was is not None:
        rated(was, line["period"], 1, f"was of {line['description']}")
    before, after = use_of(was["days"] if was else []), use_of(now["days"])
    changed = {key: (before.get(key, 0), after.get(key, 0)) for key in before | after}
    expect_same(
        {key: both for key, both in changed.items() if both[0] != both[1]},
        {(c["date"], c["size"]): (c["minutes_before"], c["minutes"]) for c in why["changes"]},
        f"changes of {line['description']}",
    )
    return cents(why["due"]) - cents(why["charged"])
