# SPDX-License-Identifier: Apache-2.0
"""What a set of events means: runs and minutes, the obvious and slow way.

Everything is computed anew from all events of a VM, sorted; minutes are counted one by one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Any

from oracle_decode import MINUTE, SECOND, DAY, METERED, Event, Rejected, day_of, decode

FUTURE = 5 * MINUTE

# The order of types at equal times.
IF_RUNNING = ("hibernated", "stopped", "started", "heartbeat", "resized")
IF_NOT = ("started", "heartbeat", "resized", "hibernated", "stopped")

Usage = dict[tuple[str, date, str], int]  # (account, day, size) -> minutes


class Catalog:
    def __init__(self, document: dict[str, Any]) -> None:
        self.versions = sorted(document["versions"], key=lambda version: version["from"])

    def version(self, day: date) -> dict[str, Any]:
        """The version in force on a day; the first also covers all time before."""
        in_force = [v for v in self.versions if v["from"] <= day.isoformat()]
        return in_force[-1] if in_force else self.versions[0]

    def rate(self, size: str, day: date) -> int:
        return self.version(day)["sizes"][size]["credits_per_hour"]

    def timeout(self, day: date) -> int:
        return self.version(day)["heartbeat_timeout_seconds"] * SECOND

    def size_of(self, event: Event) -> str | None:
        """The name of the size that a start or resize asks for; None if there is none."""
        sizes = self.version(day_of(event.time))["sizes"]
        if event.size is not None:
            return event.size if event.size in sizes else None
        fitting = [
            (size["credits_per_hour"], name)
            for name, size in sizes.items()
            if size["vcpus"] * 1000 >= event.millicpu
            and size["memory_gib"] * 2**30 >= event.memory_bytes
        ]
        return min(fitting)[1] if fitting else None


class Ledger:
    """All that was metered, and what could not be, in the order of arrival."""

    def __init__(self, catalog: Catalog, accounts: Iterable[str]) -> None:
        self.catalog = catalog
        self.accounts = set(accounts)
        self.vms: dict[tuple[str, str], dict[tuple[str, str], Event]] = defaultdict(dict)
        self.dead: list[tuple[str, bytes]] = []

    def meter(self, lines: Iterable[bytes], clock: int) -> None:
        for line in lines:
            try:
                self._take(decode(line), clock)
            except Rejected as rejected:
                self.dead.append((rejected.reason, line))

    def retry(self, clock: int) -> None:
        """The account has appeared, or the time has come."""
        dead, self.dead = self.dead, []
        self.meter([line for _, line in dead], clock)

    def reasons(self) -> Counter[str]:
        return Counter(reason for reason, _ in self.dead)

    def _take(self, event: Event, clock: int) -> None:
        if event.kind not in METERED:
            return  # counted, nothing else: neither account nor clock matters
        if event.account not in self.accounts:
            raise Rejected("unknown_account", event.account)
        if event.kind in ("started", "resized") and self.catalog.size_of(event) is None:
            raise Rejected("unknown_size", str(event.size))
        if event.time > clock + FUTURE:
            raise Rejected("future", str(event.time))
        vm = self.vms[event.account, event.vm]
        if vm.setdefault(event.identity, event) != event:
            raise Rejected("conflict", event.id)

    def runs(self, horizon: int) -> list[Run]:
        return [
            run
            for (account, vm), events in sorted(self.vms.items())
            for run in Timeline(self.catalog, account, vm).play(events.values(), horizon)
        ]

    def usage(self, horizon: int) -> Usage:
        usage: Usage = Counter()
        for run in self.runs(horizon):
            for day, size in minutes(run, self.catalog):
                usage[run.account, day, size] += 1
        return usage


@dataclass
class Run:
    account: str
    vm: str
    name: str | None
    start: int
    sizes: list[tuple[int, str]]  # (from when, size), in order
    end: int | None = None
    ended_by: str | None = None
    watched: bool = False
    proof: int = 0  # the last proof of life, where watched

    @property
    def size(self) -> str:
        return self.sizes[-1][1]


@dataclass
class Timeline:
    """One VM, event by event."""

    catalog: Catalog
    account: str
    vm: str
    runs: list[Run] = field(default_factory=list)
    open: Run | None = None
    lost: Run | None = None

    def play(self, metered: Iterable[Event], horizon: int) -> list[Run]:
        events = [event for event in standing(metered) if event.time <= horizon]
        events.sort(key=lambda event: event.time)
        for instant, together in groupby(events, key=lambda event: event.time):
            self._expire(instant)
            for event in in_order(list(together), self.open is not None):
                self._apply(event)
        self._expire(horizon)
        if self.open is not None:
            self.open.end = horizon  # an open run counts up to the horizon
        return self.runs

    def _expire(self, now: int) -> None:
        run = self.open
        if run is None or not run.watched:
            return
        if run.proof < now - self.catalog.timeout(day_of(run.proof)):
            self._end(run.proof, "heartbeat_lost")
            self.lost = run

    def _apply(self, event: Event) -> None:
        if event.kind == "started":
            self._started(event)
        elif not self._concerns_another_run(event):
            getattr(self, f"_{event.kind}")(event)

    def _concerns_another_run(self, event: Event) -> bool:
        run = self.open or self.lost
        return run is not None and differ(event.run, run.name)

    def _started(self, event: Event) -> None:
        size = self.catalog.size_of(event)
        if self.open and event.bootup == "RUNNING" and not differ(event.run, self.open.name):
            self.open.sizes.append((event.time, size))
            self._prove(event)
            return
        if self.open:
            self._end(event.time, "superseded")
        self._open(event, size, event.run)

    def _resized(self, event: Event) -> None:
        size = self.catalog.size_of(event)
        if self.open:
            self.open.sizes.append((event.time, size))
            self._prove(event)
        elif self.lost:
            self._reopen(event, size)

    def _heartbeat(self, event: Event) -> None:
        if self.open:
            self.open.watched = True
            self._prove(event)
        elif self.lost:
            self._reopen(event, self.lost.size)

    def _hibernated(self, event: Event) -> None:
        self.lost = None
        if self.open:
            self._end(event.time, event.kind)

    _stopped = _hibernated

    def _prove(self, event: Event) -> None:
        self.open.proof = event.time

    def _reopen(self, event: Event, size: str) -> None:
        self._open(event, size, event.run or self.lost.name)
        self.open.watched = True
        self._prove(event)

    def _open(self, event: Event, size: str, name: str | None) -> None:
        self.open = Run(self.account, self.vm, name, event.time, [(event.time, size)])
        self.lost = None
        self.runs.append(self.open)

    def _end(self, when: int, why: str) -> None:
        self.open.end, self.open.ended_by = when, why
        self.open = None


def differ(one: str | None, other: str | None) -> bool:
    """Runs are different only where both are named."""
    return one is not None and other is not None and one != other


def standing(metered: Iterable[Event]) -> list[Event]:
    """The events that count: neither retractions nor retracted."""
    metered = list(metered)
    retracted = {event.target for event in metered if event.kind == "retracted"}
    return [e for e in metered if e.kind != "retracted" and e.identity not in retracted]


def in_order(together: list[Event], running: bool) -> list[Event]:
    """The order of events of one instant."""
    types = IF_RUNNING if running else IF_NOT
    by_sequence = all(event.sequence is not None for event in together)

    def key(event: Event) -> tuple[bytes, int, bytes, bytes]:
        sequence = event.sequence.encode() if by_sequence else b""
        return (sequence, types.index(event.kind), event.source.encode(), event.id.encode())

    return sorted(together, key=key)


def minutes(run: Run, catalog: Catalog) -> Iterable[tuple[date, str]]:
    """Each minute of a run: the day in which it begins and the size for which it counts."""
    until = [start for start, _ in run.sizes[1:]] + [run.end]
    held = [(start, end, size) for (start, size), end in zip(run.sizes, until) if start < end]
    begin = run.start
    while begin < run.end:
        end = min(begin + MINUTE, run.end)
        sizes = {size for start, stop, size in held if start < end and stop > begin}
        yield _counted(catalog, begin // DAY, frozenset(sizes))
        begin += MINUTE


def _counted(catalog: Catalog, day: int, sizes: frozenset[str]) -> tuple[date, str]:
    when = day_of(day * DAY)
    if len(sizes) == 1:
        return when, next(iter(sizes))
    return when, min(sizes, key=lambda size: (-catalog.rate(size, when), size))
