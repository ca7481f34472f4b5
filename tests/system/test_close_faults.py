# SPDX-License-Identifier: Apache-2.0
"""Closing, closing again and voiding: killed at every statement, several at once, beside a collector,
and for very many accounts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from billing import apply, close, expect_invoices, invoices, meter, pieces
from harness import Failed, World, expect, expect_same, test
from histories import account, iso
from oracle import DEFAULT_CATALOG, Books, Catalog, Ledger, instant_of, year_of
from oracle_decode import DAY, midnight
from oracle_rate import days_of, next_period
from settling import by_number, check_books, run_of

FIRST, SECOND, THIRD = "2026-09", "2026-10", "2026-11"
AS_OF = instant_of("2026-12-02T00:00:00Z")
YEAR = year_of(AS_OF)
BATCH = 2000  # accounts a transaction
Document = dict[str, Any]


# ---- a fleet with a closed period that has changed since ----


class Fleet:
    """Accounts that were used, with grants and all, among many that were not and cost little."""

    def __init__(self, world: World, used: int, unused: int = 0) -> None:
        self.world, self.random = world, world.random
        total = used + unused
        self.used = {f"acct-{n:05}" for n in self.random.sample(range(total), used)}
        self.documents = [self._document(f"acct-{n:05}") for n in range(total)]
        self.vms = 0
        self.ledger = Ledger(Catalog(DEFAULT_CATALOG), [d["id"] for d in self.documents])
        # What is not used costs nothing: the oracle need not say so for each.
        billed = [d for d in self.documents if d["id"] in self.used]
        self.books = Books(billed, self.ledger.catalog)
        apply(world, {"accounts": self.documents})

    def _document(self, identity: str) -> Document:
        if identity in self.used:
            return account(self.random, identity, [FIRST, SECOND])
        subscriptions = [{"plan": "enterprise", "from": "2026-01-01"}]
        return {"id": identity, "name": "Idle", "subscriptions": subscriptions}

    def lines(self, share: float, periods: list[str]) -> list[bytes]:
        """Runs of some of those that are used at all."""
        lines = []
        for identity in sorted(self.used):
            if self.random.random() < share:
                self.vms += 1
                day = self.random.choice(days_of(self.random.choice(periods)))
                lines += run_of(identity, f"vm-{self.vms}", day, self.random.randrange(1, 1440))
        return lines

    def meter(self, lines: list[bytes]) -> None:
        meter(self.world, "events.ndjson", lines, AS_OF)
        self.ledger.meter(lines, AS_OF)

    def close(self, period: str) -> None:
        close(self.world, period, AS_OF)
        self.books.close(period, self.ledger.usage(AS_OF), YEAR)

    def settle_first(self) -> None:
        """FIRST is closed, and then changed for some; SECOND is there to be closed."""
        self.meter(self.lines(0.8, [FIRST, SECOND]))
        self.close(FIRST)
        self.meter(self.lines(0.3, [FIRST]) + self.lines(0.3, [SECOND]))

    def compare(self, period: str) -> None:
        expected = sorted(self.books.of_period(period), key=by_number)
        expect_invoices(expected, invoices(self.world, period, AS_OF), f"invoices of {period}")

    def void(self, period: str) -> str:
        """An invoice that was adjusted by a later one, or any."""
        standing = [i for i in self.books.issued if i.document["period"] == period and not i.voided]
        return self.random.choice([i for i in standing if i.carried == 0]).number


# ---- killed at every statement ----


def fingerprint(world: World) -> str:
    """Everything that a closing writes, without what is random."""
    tables = {
        "invoice": "SELECT * FROM invoice",
        "line": "SELECT * FROM invoice_line",
        "draw": "SELECT * FROM grant_draw",
        "carried": "SELECT * FROM carried_grant",
        "series": "SELECT * FROM series",
        "chain": "SELECT * FROM chain",
        "again": "SELECT * FROM closed_again",
        "closing": "SELECT * FROM closing",
        "mark": "SELECT DISTINCT account, since FROM unsettled",
        "notice": "SELECT account, type, data FROM notice",
    }
    sums = "count(*), md5(string_agg(t::text, ',' ORDER BY t::text))"
    each = [f"SELECT '{name}', {sums} FROM ({sql}) AS t" for name, sql in tables.items()]
    return world.psql(" UNION ALL ".join(each))


def killed_at(world: World, n: int, after: bool, command: list[Any], exits: set[int]) -> bool:
    """Whether the command was killed before or after it had sent its n-th statement."""
    sanitizer = os.environ.get("ASAN_OPTIONS", "")
    ran = world.tally(
        *command,
        exit={-9, *exits},
        env={
            "LD_PRELOAD": str(world.tools / "libpreload_kill.so"),
            "TALLY_KILL_AT": str(n),
            "ASAN_OPTIONS": f"{sanitizer}:verify_asan_link_order=0",
        }
        | ({"TALLY_KILL_AFTER": "1"} if after else {}),
    )
    return ran.exit == -9


def on_copies(world: World) -> Iterator[int]:
    """1, 2, 3, …, each on a copy of the database as it is now."""
    original = world.database
    n = 0
    while True:
        n += 1
        world.database = f"{original}_copy"
        world.postgres.psql("postgres", f"DROP DATABASE IF EXISTS {world.database} WITH (FORCE)")
        world.postgres.create(world.database, template=original)
        yield n


def killed_everywhere(world: World, command: list[Any], again: set[int]) -> None:
    """At each statement: on a copy of its own, and, until it comes through, on one for all. What was
    done by then, and is asked for again, may end with any of `again`."""
    original = world.database
    copies = on_copies(world)
    next(copies)
    world.tally(*command)
    undisturbed = fingerprint(world)
    check_books(world)
    for n in copies:
        killed = killed_at(world, n, n % 2 == 0, command, {0})
        if not killed:
            break
        world.tally(*command, exit=again)
        expect_same(undisturbed, fingerprint(world), f"what was written, killed at statement {n}")
    expect(n > 10, f"it sent only {n} statements")
    n = 1
    next(copies)
    while killed_at(world, n, n % 2 == 1, command, again):
        n += 1
    expect_same(undisturbed, fingerprint(world), "what was written, killed over and over again")
    world.database = original


@test("a closing that adjusts, killed at every statement, is one closing", seconds=400, heavy=True)
def close_killed_everywhere(world: World) -> None:
    fleet = Fleet(world, used=60, unused=BATCH)
    fleet.settle_first()
    killed_everywhere(world, ["invoices", "close", "--period", SECOND, "--as-of", iso(AS_OF)], {0})
    fleet.close(SECOND)
    fleet.compare(SECOND)


@test("voiding, and closing again for one account, killed at every statement, happen once",
      seconds=400, heavy=True)
def void_killed_everywhere(world: World) -> None:
    fleet = Fleet(world, used=60)
    fleet.settle_first()
    fleet.close(SECOND)
    number = fleet.void(FIRST)
    void = ["invoices", "void", number, "--reason", "wrong", "--as-of", iso(AS_OF)]
    killed_everywhere(world, void, {0, 3})
    world.tally(*void)
    fleet.books.void(number, "wrong", YEAR)
    fleet.compare(FIRST)
    [invoice] = [i for i in fleet.books.issued if i.number == number]
    account = invoice.document["account"]
    again = ["--period", FIRST, "--account", account, "--as-of", iso(AS_OF)]
    killed_everywhere(world, ["invoices", "close", *again], {0})
    world.tally("invoices", "close", *again)
    fleet.books.close_account(account, FIRST, fleet.ledger.usage(AS_OF), YEAR)
    fleet.compare(FIRST)


# ---- several at once ----


@test("three closings at once that adjust are one closing", seconds=120)
def close_at_once(world: World) -> None:
    fleet = Fleet(world, used=80, unused=2 * BATCH)
    fleet.settle_first()
    command = ["invoices", "close", "--period", SECOND, "--as-of", iso(AS_OF)]
    for closing in [world.start(*command) for _ in range(3)]:
        _, stderr = closing.communicate()
        expect_same(0, closing.returncode, f"exit of closings at once ({stderr.decode()})")
    fleet.books.close(SECOND, fleet.ledger.usage(AS_OF), YEAR)
    fleet.compare(SECOND)
    check_books(world)


class Beside(threading.Thread):
    """Does something again and again, beside the test, until it is joined."""

    def __init__(self, once: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self.once, self.failure = once, None
        self.times, self.ending = 0, False
        self.start()

    def run(self) -> None:
        try:
            while not self.ending and self.once():
                self.times += 1
        except Failed as failure:
            self.failure = failure

    def end(self, what: str) -> None:
        """Lets it finish, and fails as it did."""
        self.join()
        if self.failure is not None:
            raise self.failure
        expect(self.times > 0, f"{what} never happened beside the closings")


@test("closing while events of closed periods are metered and invoices voided loses nothing",
      seconds=180, heavy=True)
def close_beside(world: World) -> None:
    fleet = Fleet(world, used=40, unused=BATCH)
    random = world.random
    periods = ["2024-12"]
    while periods[-1] != THIRD:
        periods.append(next_period(periods[-1]))
    lines = [line for _ in range(12) for line in fleet.lines(1.0, periods)]
    waiting = pieces(random, lines, 60)
    closed: list[str] = []

    def meter_some() -> bool:
        if not waiting:
            return False
        piece = waiting.pop()
        meter(world, "events.ndjson", piece, AS_OF)
        return True

    def void_some() -> bool:
        period = random.choice(closed) if closed else periods[0]
        issued = [i for i in invoices(world, period, AS_OF) if i["number"].startswith("INV")]
        for invoice in random.sample(issued, min(2, len(issued))):
            reason = ["--reason", "wrong", "--as-of", iso(AS_OF)]
            world.tally("invoices", "void", invoice["number"], *reason, exit={0, 3})
            again = ["--account", invoice["account"]]
            close(world, period, AS_OF, *again)
        return True

    metering, voiding = Beside(meter_some), Beside(void_some)
    for period in periods:
        close(world, period, AS_OF)
        closed.append(period)
    metering.end("metering")
    voiding.ending = True
    voiding.end("voiding")
    fleet.ledger.meter(lines, AS_OF)
    fleet.books.periods = [*periods, next_period(THIRD)]
    expect_settled(fleet)


def expect_settled(fleet: Fleet) -> None:
    """One more closing, and what stands adds up to what is known; another one adjusts nothing."""
    world, last = fleet.world, fleet.books.periods[-1]
    later = midnight(days_of(next_period(next_period(last)))[0]) + DAY
    close(world, last, later)
    usage = fleet.ledger.usage(later)
    rows = world.psql(
        "SELECT account, sum(subtotal_cents) FROM invoice i WHERE kind = 0 AND NOT EXISTS"
        " (SELECT FROM invoice c WHERE c.credits_number = i.number) GROUP BY 1"
    )
    stands = dict(row.split("|") for row in rows.splitlines())
    for account in sorted(fleet.used):
        expected = fleet.books.known_from_the_start(account, usage)
        expect_same(expected, int(stands.pop(account, 0)), f"cents of {account}")
    expect_same({}, stands, "what stands for accounts that were not used")
    check_books(world)
    close(world, next_period(last), later)
    for invoice in invoices(world, next_period(last), later):
        kinds = [line["kind"] for line in invoice["lines"]]
        expect("adjustment" not in kinds, f"settled, and yet adjusted: {invoice}")


# ---- very many ----

MANY = 100_000
TOUCHED = 1000


@test(f"{MANY:,} accounts are closed; closing again changes nothing, and the next closing adjusts"
      f" those {TOUCHED:,} that changed, and no others", seconds=240, heavy=True)
def close_many(world: World) -> None:
    random = world.random
    ids = [f"acct-{n:06}" for n in range(MANY)]
    plan = [{"plan": "enterprise", "from": "2026-01-01"}]
    apply(world, {"accounts": [{"id": i, "name": i, "subscriptions": plan} for i in ids]})
    day = days_of(FIRST)[0]
    meter(world, "events.ndjson", [e for i in ids for e in run_of(i, "vm", day, 60)], AS_OF)
    close(world, FIRST, AS_OF)
    expect_same(f"{MANY}|{MANY * 119}", totals(world, FIRST), "invoices and their sum")
    check_books(world)
    before = fingerprint(world)
    close(world, FIRST, AS_OF)
    expect_same(before, fingerprint(world), "what was written, after closing again")

    touched = random.sample(ids, TOUCHED)
    meter(world, "late.ndjson", [e for i in touched for e in run_of(i, "late", day, 120)], AS_OF)
    close(world, SECOND, AS_OF)
    expect_same(f"{TOUCHED}|{TOUCHED * 238}", totals(world, SECOND), "invoices and their sum")
    accounts = "SELECT account FROM invoice_line WHERE kind = 'adjustment' ORDER BY account"
    expect_same("\n".join(sorted(touched)), world.psql(accounts), "who was adjusted")


def totals(world: World, period: str) -> str:
    return world.psql(
        f"SELECT count(*), sum(total_cents) FROM invoice WHERE period = '{period}-01'"
    )
