# SPDX-License-Identifier: Apache-2.0
"""Whose usage may have changed, and since when: no change of a past month goes unnoticed by billing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from random import Random
from typing import Any

from billing import apply, close, meter, pieces, reasons, usage
from harness import Skipped, World, expect, expect_same, test
from histories import World as History
from histories import iso, other_catalog
from histories import world as draw
from oracle import DEFAULT_CATALOG, Usage, instant_of
from small import event, first_of, now

FAR = instant_of("2199-01-01T00:00:00Z")


class Watched:
    """Compares usage before and after a step with the rows that the step has added."""

    def __init__(self, world: World, accounts: Iterable[str], as_of: int | None) -> None:
        self.world, self.accounts, self.as_of = world, list(accounts), as_of
        self.last = self.newest()
        self.before = self.used()

    def newest(self) -> int:
        return int(self.world.psql("SELECT coalesce(max(id), 0) FROM unsettled"))

    def used(self, accounts: Iterable[str] | None = None) -> Usage:
        """By account, day and size; without a moment given, of months that are over alone."""
        found: Usage = {}
        for account in self.accounts if accounts is None else accounts:
            found |= usage(self.world, account, self.as_of or micros(now()))
        today = now().date()
        past = {k: n for k, n in found.items() if k[1] < today.replace(day=1)}
        return past if self.as_of is None else found

    def added(self) -> dict[str, date]:
        """By account the earliest day of the rows since the last look."""
        rows = self.world.psql(
            f"SELECT account, min(since) FROM unsettled WHERE id > {self.last} GROUP BY account"
        )
        self.last = self.newest()
        marks = [row.split("|") for row in rows.splitlines()]
        return {account: date.fromisoformat(since) for account, since in marks}

    def look(self, what: str, accounts: Iterable[str] | None = None) -> int:
        """How many days have changed, of these accounts alone; a row reaches back to each of them."""
        marks, after = self.added(), self.used(accounts)
        if accounts is not None:
            after |= {key: n for key, n in self.before.items() if key[0] not in accounts}
        changed = {
            key[:2] for key in self.before.keys() | after.keys()
            if self.before.get(key) != after.get(key)
        }
        for account, day in sorted(changed):
            since = marks.get(account)
            expect(since is not None and since <= day,
                   f"{what}: {account} used other minutes on {day}, noted since {since}")
        self.before = after
        return len(changed)


def micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def retractions_apart(random: Random, history: History) -> list[bytes]:
    """In another order than drawn: much of what is retracted comes long before, or after."""
    return random.sample(history.lines, len(history.lines))


def metered_in_pieces(
    world: World, history: History, as_of: int | None, look_as_of: int | None, number: int
) -> int:
    random = world.random
    watched = Watched(world, history.ids, look_as_of)
    changed = 0
    for n, lines in enumerate(pieces(random, retractions_apart(random, history), number)):
        batch = random.choice([["--batch-max", 7], ["--batch-max", 100], []])
        when = [] if as_of is None else ["--as-of", iso(as_of)]
        path = world.write(f"events-{n}.ndjson", lines)
        world.tally("meter", "--file", path, *when, *batch)
        changed += watched.look(f"piece {n}")
    return changed


@test("whatever day's usage a piece of a random history changes, a row reaches back to it",
      seconds=240)
def unsettled_days(world: World) -> None:
    history = draw(world.random, "2026-09", 40, other_catalog())
    apply(world, history.accounts, history.catalog)
    changed = metered_in_pieces(world, history, history.as_of, history.as_of, 12)
    expect(changed > 200, f"only {changed} days changed")


@test("whatever day's usage a few events of a random history change, a row reaches back to it",
      seconds=240)
def unsettled_few(world: World) -> None:
    history = draw(world.random, "2026-09", 5, other_catalog(), bad=False)
    apply(world, history.accounts, history.catalog)
    lines = retractions_apart(world.random, history)
    watched = Watched(world, history.ids, history.as_of)
    changed = 0
    for n in range(0, len(lines), 4):
        meter(world, "few.ndjson", lines[n : n + 4], history.as_of)
        accounts = {json.loads(line)["data"]["account"] for line in lines[n : n + 4]}
        changed += watched.look(f"events {n} to {n + 3}", accounts)
    expect(changed > 20, f"only {changed} days changed")


@test("by the real clock, rows reach back to each day of a past month whose usage changes",
      seconds=240)
def unsettled_months(world: World) -> None:
    history = draw(world.random, first_of(now(), 1).strftime("%Y-%m"), 40, DEFAULT_CATALOG)
    apply(world, history.accounts)
    changed = metered_in_pieces(world, history, None, None, 8)
    expect(changed > 50, f"only {changed} days changed")
    since = world.psql("SELECT max(since) < date_trunc('month', now()) FROM unsettled")
    expect_same("t", since, "whether rows speak of past months alone")


@test("events of the current month are metered without a row", seconds=60)
def unsettled_not_now(world: World) -> None:
    clock = now()
    began = first_of(clock)
    if clock - began < timedelta(hours=1) or (clock + timedelta(hours=2)).month != clock.month:
        raise Skipped("a month is just about to end or to begin")
    apply(world, {"accounts": [customer("acme")]})
    times = [began + (clock - began) * n / 400 for n in range(8, 400)]
    lines = [event("started", times[0], "acme", "vm", "nano")]
    lines += [event("heartbeat", time, "acme", "vm") for time in times[1:]]
    meter_now(world, lines)
    meter_now(world, [event("stopped", times[200], "acme", "vm")])  # and late
    expect_same("0", world.psql("SELECT count(*) FROM unsettled"), "rows")
    expect_same("393", world.psql("SELECT count(*) FROM event"), "events")


def customer(id: str) -> dict[str, Any]:
    return {"id": id, "name": id, "subscriptions": [{"plan": "scale", "from": "2025-01-01"}]}


def meter_now(world: World, lines: list[bytes]) -> None:
    world.tally("meter", "--file", world.write("now.ndjson", lines))


@test("repeats, conflicts, dead letters and retractions of nothing make no row; what is metered"
      " after all does", seconds=60)
def unsettled_for_nothing(world: World) -> None:
    apply(world, {"accounts": [customer("acme")]})
    at = first_of(now(), 1) + timedelta(days=9, hours=12)
    started, stopped = (event(kind, at + timedelta(hours=h), "acme", "vm", "nano")
                        for kind, h in (("started", 0), ("stopped", 1)))
    watched = Watched(world, ["acme"], None)
    meter_now(world, [started])
    expect_same({"acme": at.date()}, watched.added(), "rows of a start")
    conflicting = json.loads(started) | {"time": (at + timedelta(days=1)).isoformat()}
    stray = event("retracted", at, "acme", "vm", source="/small", id="never seen")
    unknown = event("started", at, "later", "vm", "nano")
    meter_now(world, [started, json.dumps(conflicting).encode(), b"{", stray, unknown])
    expect_same({"conflict": 1, "malformed": 1, "unknown_account": 1}, dict(reasons(world)),
                "dead letters")
    expect_same({}, watched.added(), "rows of what changes nothing")
    early = event("retracted", at + timedelta(hours=2), "acme", "vm", source="/small", id=json.loads(stopped)["id"])
    meter_now(world, [early])
    meter_now(world, [stopped])
    expect_same({}, watched.added(), "rows of an event that was retracted before it came")
    apply(world, {"accounts": [customer("later")]})
    expect_same(at.date(), watched.added().get("later"), "row of a dead letter that is metered")
    late = event("retracted", now(), "acme", "vm", source="/small", id=json.loads(started)["id"])
    meter_now(world, [late])
    expect_same({"acme": at.date()}, watched.added(), "row of a retraction: its target's day")


@test("events of the first minutes of a month reach back to the one before, where a run under watch"
      " had its last proof of life in it, or a minute began in it", seconds=60)
def unsettled_month_begins(world: World) -> None:
    apply(world, {"accounts": [customer("acme")]})
    midnight = first_of(now(), 1)
    watched = Watched(world, ["acme"], None)
    early, late = midnight - timedelta(minutes=20), midnight + timedelta(minutes=90, seconds=30)
    proof, next_proof = midnight - timedelta(minutes=8), midnight + timedelta(seconds=100)
    lines = [event("started", early, "acme", vm, "nano") for vm in ("watched", "late", "other")]
    lines += [event("heartbeat", proof, "acme", vm) for vm in ("watched", "late")]
    lines += [event("started", midnight - timedelta(seconds=20), "acme", "minute", "nano")]
    lines += [event("stopped", late, "acme", vm) for vm in ("other", "minute")]
    meter_now(world, lines)
    watched.look("before")
    # It was lost from its last proof on, and now it ran on.
    meter_now(world, [event("heartbeat", next_proof, "acme", "watched")])
    expect_same(2, watched.look("a proof in time"), "days that changed")
    meter_now(world, [event("heartbeat", midnight + timedelta(minutes=3), "acme", "late")])
    expect_same(0, watched.look("a proof too late"), "days that changed")
    # And lost again, where the proof is taken back.
    source, identity = "/small", json.loads(event("heartbeat", next_proof, "acme", "watched"))["id"]
    meter_now(world, [event("retracted", late, "acme", "watched", source=source, id=identity)])
    expect_same(2, watched.look("a proof taken back"), "days that changed")
    # The minute from 23:59:40 on is the dearer size's.
    meter_now(world, [event("resized", midnight + timedelta(seconds=30), "acme", "minute", "large")])
    expect_same(2, watched.look("a resize"), "days that changed")
    watched.added()
    meter_now(world, [event("resized", midnight + timedelta(seconds=90), "acme", "other", "large")])
    expect_same({"acme": midnight.date()}, watched.added(), "row of a resize behind the first minute")


# ---- another catalogue ----


def with_timeouts(seconds: int, since: str | None = None) -> dict[str, Any]:
    """The default catalogue with another heartbeat timeout, in all of it or from a date on."""
    catalog = json.loads(json.dumps(DEFAULT_CATALOG))
    if since is not None:
        catalog["versions"].append(json.loads(json.dumps(catalog["versions"][-1])) | {"from": since})
    for version in catalog["versions"]:
        if since is None or version["from"] == since:
            version["heartbeat_timeout_seconds"] = seconds
    return catalog


@test("whatever day's usage another catalogue changes, of runs that ended and of open ones, a row"
      " reaches back to it, and to no day before", seconds=240)
def unsettled_rebuild(world: World) -> None:
    random = world.random
    history = draw(random, "2026-09", 60, DEFAULT_CATALOG, bad=False)
    # Without most of what ends runs, many are open.
    history.lines = [line for line in history.lines if b"vm.stopped" not in line or random.random() < 0.3]
    apply(world, history.accounts)
    meter(world, "events.ndjson", history.lines, history.as_of)
    watched = Watched(world, history.ids, history.as_of)
    for catalog in (other_catalog(), with_timeouts(3600), with_timeouts(60), DEFAULT_CATALOG):
        before = watched.before
        world.tally("catalog", "apply", world.write("catalog.json", catalog))
        marks = watched.added()
        after = watched.used()
        first: dict[str, date] = {}
        for account, day, size in sorted(before.keys() | after.keys()):
            if before.get((account, day, size)) != after.get((account, day, size)):
                first.setdefault(account, day)
        expect(len(first) > 5, f"only {len(first)} accounts changed")
        expect_same(first, {a: d for a, d in marks.items() if a in first}, "days since when")
        # What differs only after the moment that is looked at is noted, too.
        early = {a: d for a, d in marks.items() if a not in first and d < as_date(history.as_of)}
        expect_same({}, early, "rows of accounts whose usage is as it was")
        watched.before = after


def as_date(instant: int) -> date:
    return datetime.fromtimestamp(instant / 1_000_000, timezone.utc).date()


@test("a catalogue that changes minutes of closed periods is refused, naming account and period;"
      " --retroactive lets it through, and every account is noted", seconds=60)
def unsettled_catalog_refused(world: World) -> None:
    apply(world, {"accounts": [customer("acme"), customer("idle")]})
    lost = "2026-09-30T23:00:00Z"
    meter(world, "events.ndjson", [
        line.encode() for line in (
            vm_event("started", "2026-09-30T22:00:00Z", size="nano"),
            vm_event("heartbeat", lost),
            vm_event("heartbeat", "2026-09-30T23:20:00Z"),
        )
    ], instant_of("2026-10-02T00:00:00Z"))
    later = world.write("later.json", with_timeouts(1800, "2026-10-01"))
    longer = world.write("longer.json", with_timeouts(1800))
    world.tally("catalog", "apply", longer)  # nothing is closed
    world.tally("catalog", "apply", world.write("default.json", DEFAULT_CATALOG))
    close(world, "2026-09", instant_of("2026-10-02T00:00:00Z"))
    world.tally("catalog", "apply", later)
    world.tally("catalog", "apply", world.write("default.json", DEFAULT_CATALOG))
    revision = "SELECT max(revision) FROM catalog"
    before, last = world.psql(revision), newest(world)
    refused = world.tally("catalog", "apply", longer, exit=3)
    for word in ("acme", "2026-09", "--retroactive"):
        expect(word in refused.stderr, f"{word!r} is named\n{refused}")
    expect_same((before, last), (world.psql(revision), newest(world)), "what a refusal left")
    world.tally("catalog", "apply", longer, "--retroactive")
    rows = world.psql(f"SELECT DISTINCT account FROM unsettled WHERE id > {last} ORDER BY 1")
    expect_same("acme\nidle", rows, "accounts that are noted")
    day = f"SELECT max(since) FROM unsettled WHERE id > {last} AND account = 'acme'"
    expect_same("2026-09-30", world.psql(day), "since when acme's usage is other")


def newest(world: World) -> str:
    return world.psql("SELECT coalesce(max(id), 0) FROM unsettled")


def vm_event(kind: str, time: str, **data: Any) -> str:
    return json.dumps({
        "specversion": "1.0", "id": time, "source": "/s", "type": f"vm.{kind}", "subject": "vm",
        "time": time, "data": {"account": "acme", **data},
    })
