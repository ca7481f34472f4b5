# SPDX-License-Identifier: Apache-2.0
"""Months of bookkeeping in any order: closings, late events, credit notes, and terms that change in
hindsight. Each step is done by tally and by the oracle, and what was issued must be the same."""

from __future__ import annotations

import json
from fractions import Fraction
from random import Random
from typing import Any

import histories
from billing import check_invoice, close, invoices, meter, pieces
from harness import World, expect, expect_same
from histories import HOUR, Vm, edges_between, iso, other_catalog
from oracle import DEFAULT_CATALOG, Books, Catalog, Ledger, Usage, difference, year_of
from oracle_books import Refused
from oracle_decode import DAY, MINUTE, decode, midnight
from oracle_rate import days_of, money, next_period, rounded

Document = dict[str, Any]


class Bookkeeping:
    """Some accounts, their events by the time of arrival, and a clock that goes on."""

    def __init__(self, world: World, random: Random, first: str, periods: int, count: int) -> None:
        self.world, self.random = world, random
        self.periods = [first]
        while len(self.periods) < periods:
            self.periods.append(next_period(self.periods[-1]))
        self.start = midnight(days_of(first)[0]) - 3 * DAY
        self.end = midnight(days_of(next_period(self.periods[-1]))[0]) + 2 * DAY
        self.clock = midnight(days_of(first)[-4])
        self.catalog = random.choice([DEFAULT_CATALOG, other_catalog()])
        self.documents = [self.account(n) for n in range(count)]
        self.late = self.documents.pop()  # appears when books have begun
        self.coming = self._events(edges_between(self.start, self.end, self.catalog))
        self.files = 0
        self.ledger = Ledger(Catalog(self.catalog), [document["id"] for document in self.documents])
        self.books = Books(self.documents, self.ledger.catalog)
        world.tally("catalog", "apply", self.file("catalog", self.catalog))
        world.tally("accounts", "apply", self.file("accounts", {"accounts": self.documents}))

    def account(self, n: int) -> Document:
        return histories.account(self.random, f"acct-{n:02}", self.random.choice(
            [self.periods[:2], self.periods[-2:]]))

    def file(self, name: str, content: Any) -> Any:
        self.files += 1
        return self.world.write(f"{name}-{self.files}.json", content)

    def _events(self, edges: list[int]) -> list[tuple[int, bytes]]:
        """Lines by the time at which they arrive: never before their own, often much later."""
        random, coming = self.random, []
        for document in [*self.documents, self.late]:
            for n in range(random.choice([0, 1, 1, 2])):
                vm = Vm(random, document["id"], f"vm-{n}", self.start, self.end, edges)
                for line in vm.lines():
                    delay = random.choice([0, 0, MINUTE, 3 * HOUR, 3 * DAY, 40 * DAY])
                    arrives = max(decode(line).time, self.start) + random.randrange(delay + 1)
                    coming.append((arrives, line))
        return sorted(coming, key=lambda pair: pair[0])

    # ---- the clock ----

    def advance(self, days: int, clock: int = 0) -> None:
        """Time goes on, and what has arrived is metered."""
        self.clock = max(clock, self.clock + self.random.randrange(days * DAY + 1))
        ours = {document["id"] for document in self.documents}
        arrived, later = [], []
        for arrives, line in self.coming:
            known = decode(line).account in ours
            (arrived if known and arrives <= self.clock else later).append((arrives, line))
        self.coming = later
        lines = [line for _, line in arrived]
        for piece in pieces(self.random, lines, self.random.choice([1, 2])) if lines else []:
            batch = self.random.choice([["--batch-max", 7], []])
            meter(self.world, "events.ndjson", piece, self.clock, *batch)
            self.ledger.meter(piece, self.clock)

    @property
    def usage(self) -> Usage:
        return self.ledger.usage(self.clock)

    # ---- steps ----

    def close(self) -> None:
        """The next period, if need be early."""
        period = next_period(self.books.periods[-1]) if self.books.periods else self.periods[0]
        due = midnight(days_of(next_period(period))[0]) + HOUR
        force = ["--force"] if self.clock < due else []
        if force:
            close(self.world, period, self.clock, exit=3)
        usage = self.usage
        for document in self.documents:
            self.preview(document["id"], period, usage)
        close(self.world, period, self.clock, *force)
        self.books.close(period, usage, year_of(self.clock))
        self.compare(period)

    def preview(self, account: str, period: str, usage: Usage) -> None:
        invoice = self.books.make(account, period, usage)
        expected = invoice.document if invoice else {"lines": [], "usage": [], "total": "0.00"}
        got = self.world.json(
            "invoices", "preview", account, "--period", period, "--as-of", iso(self.clock)
        )
        problem = difference(expected, got)
        expect(problem is None, f"preview of {period} for {account}: {problem}")

    def void(self) -> None:
        """An invoice, of those that stand or not; often one that may not be voided."""
        if not self.books.issued:
            return
        invoice = self.random.choice(self.books.issued)
        reason = self.random.choice(["wrong", 'é "&" <–>', "x" * 100])
        try:
            self.books.void(invoice.number, reason, year_of(self.clock))
            exit = 0
        except Refused:
            exit = 3
        self.world.tally(
            *("invoices", "void", invoice.number, "--reason", reason),
            *("--as-of", iso(self.clock)), exit=exit,
        )
        self.compare(invoice.document["period"])

    def close_again(self) -> None:
        if self.books.open_again:
            self.close_account(*self.random.choice(sorted(self.books.open_again)))

    def close_account(self, account: str, period: str) -> None:
        """A period of one account whose invoice was voided; there may be nothing to bill now."""
        close(self.world, period, self.clock, "--account", account, "--force")
        self.books.close_account(account, period, self.usage, year_of(self.clock))
        self.compare(period)

    def change_accounts(self) -> None:
        """Some accounts in hindsight; once, a new one."""
        documents = [
            changed_account(self.random, document, lambda n: self.account(n))
            for document in self.random.sample(self.documents, self.random.choice([1, 1, 3]))
        ]
        if self.late is not None and self.random.random() < 0.4:
            documents.append(self.late)
            self.documents.append(self.late)
            self.late = None
        by_id = {document["id"]: document for document in documents}
        self.documents = [by_id.get(document["id"], document) for document in self.documents]
        file = self.file("accounts", {"accounts": documents})
        self.world.tally("accounts", "apply", file, "--retroactive")
        self.books.apply(documents)
        self.ledger.accounts |= set(by_id)

    def change_catalog(self) -> None:
        self.catalog = changed_catalog(self.random, self.catalog, self.periods)
        file = self.file("catalog", self.catalog)
        self.world.tally("catalog", "apply", file, "--retroactive")
        self.ledger.catalog = self.books.catalog = Catalog(self.catalog)

    def step(self) -> None:
        self.advance(self.random.choice([0, 5, 20]))
        due = midnight(days_of(self.next)[-1]) + self.random.choice([-5, 1, 3, 20]) * DAY
        if self.clock >= due and len(self.books.periods) < len(self.periods):
            self.close()
        actions = [self.void, self.close_again, self.change_accounts, self.change_catalog]
        self.random.choices(actions, weights=[5, 4, 4, 1])[0]()
        if self.random.random() < 0.1:
            self.audit()

    @property
    def next(self) -> str:
        return next_period(self.books.periods[-1]) if self.books.periods else self.periods[0]

    # ---- what must hold ----

    def compare(self, period: str) -> None:
        expected = sorted(self.books.of_period(period), key=by_number)
        got = invoices(self.world, period, self.clock)
        problem = difference(expected, got)
        expect(problem is None, f"invoices of {period} as of {iso(self.clock)}: {problem}")
        for invoice in got:
            check_invoice(invoice)

    def settle(self) -> None:
        """Everything arrives, all that is open is closed, and one more period."""
        self.advance(0, clock=max([self.end, *(arrives for arrives, _ in self.coming)]))
        for account, period in sorted(self.books.open_again):
            self.close_account(account, period)
        while len(self.books.periods) < len(self.periods):
            self.close()
        last = next_period(self.periods[-1])
        self.advance(0, clock=midnight(days_of(next_period(last))[0]) + DAY)
        self.close()
        self.expect_settled()
        for period in [*self.periods, last]:
            self.compare(period)
        check_books(self.world)
        self.audit()

    def audit(self) -> None:
        """Clean, but for what the next invoice will adjust."""
        self.world.tally("audit", "--pending-ok", "--as-of", iso(self.clock))

    def expect_settled(self) -> None:
        """What stands adds up to what is known now, and draws what that draws."""
        usage = self.usage
        standing = [
            invoice
            for period in self.books.periods
            for invoice in invoices(self.world, period, self.clock)
            if invoice["status"] == "issued" and "credits" not in invoice
        ]
        drawn = credit_draws(self.world)
        for document in self.documents:
            account = document["id"]
            total = sum(
                rounded(Fraction(i["subtotal"]) * 100)
                for i in standing
                if i["account"] == account
            )
            expected = self.books.known_from_the_start(account, usage)
            expect_same(money(expected), money(total), f"sum of what stands for {account}")
            if any(i["period"] == self.books.periods[-1] for i in standing if i["account"] == account):
                ours = {g: n for g, n in self.books.credit_drawn(account, usage).items() if n}
                expect_same(ours, drawn.get(account, {}), f"credits drawn by {account}")


def by_number(document: Document) -> tuple[str, str, int, str]:
    kind, year, count = document["number"].split("-")
    return (kind, year, len(count), count)


def credit_draws(world: World) -> dict[str, dict[str, int]]:
    """What standing invoices have drawn from each account's credit grants."""
    rows = world.psql(
        "SELECT account, grant_id, sum(amount) FROM grant_draw d WHERE unit = 0 AND NOT EXISTS "
        "(SELECT FROM invoice c WHERE c.credits_number = d.number) GROUP BY 1, 2"
        " HAVING sum(amount) <> 0"
    )
    draws: dict[str, dict[str, int]] = {}
    for row in rows.splitlines():
        account, grant, amount = row.split("|")
        draws.setdefault(account, {})[grant] = int(amount)
    return draws


def check_books(world: World) -> None:
    """Each series without a gap, one chain over everything, one standing invoice a period."""
    rows = world.psql(
        "SELECT number, encode(hash, 'hex'), encode(previous_hash, 'hex') FROM invoice ORDER BY place"
    )
    last: dict[tuple[str, str], int] = {}
    before = None
    for row in rows.splitlines():
        number, hash, previous = row.split("|")
        kind, year, count = number.split("-")
        last[kind, year] = last.get((kind, year), 0) + 1
        expect_same(f"{last[kind, year]:06}", count, f"the next number ({number})")
        expect(before in (None, previous), f"the chain breaks at {number}")
        before = hash
    head = world.psql("SELECT encode(hash, 'hex') FROM chain WHERE place > 0")
    expect_same(before or "", head, "the chain's head")
    twice = world.psql(
        "SELECT account, period FROM invoice i WHERE kind = 0 AND NOT EXISTS"
        " (SELECT FROM invoice c WHERE c.credits_number = i.number) GROUP BY 1, 2 HAVING count(*) > 1"
    )
    expect_same("", twice, "accounts with two standing invoices of a period")


# ---- events ----


def run_of(identity: str, vm: str, day: Any, minutes: int) -> list[bytes]:
    """A start and a stop."""
    return [
        (
            f'{{"specversion":"1.0","id":"{vm}-{kind}","source":"/s","type":"vm.{kind}",'
            f'"subject":"{vm}","time":"{day}T{at // 60:02}:{at % 60:02}:00Z",'
            f'"data":{{"account":"{identity}","size":"medium"}}}}'
        ).encode()
        for kind, at in [("started", 0), ("stopped", minutes)]
    ]


# ---- changes in hindsight ----


def changed_account(random: Random, document: Document, anew: Any) -> Document:
    if random.random() < 0.3:
        return anew(int(document["id"][-2:]))
    document = json.loads(json.dumps(document))
    grants = document.setdefault("grants", [])
    plans = [s for s in document["subscriptions"] if s["plan"] is not None]
    for _ in range(random.choice([1, 2])):
        what = random.randrange(5)
        if what == 0:
            document["tax_rate_bps"] = random.choice([0, 1, 1900])
        elif what == 1:
            random.choice(plans)["plan"] = random.choice(["build", "pro", "scale", "enterprise"])
        elif what == 2:
            random.choice(plans)["overrides"] = histories.overrides(random)
        elif what == 3 and grants:
            grant = random.choice(grants)
            grant["amount"] = random.choice(["0.05", "1", "77.5", "1000"])
            grant["priority"] = random.choice([0, 1, 100, 101])
        elif what == 4 and grants:
            grants.remove(random.choice(grants))
    return document


def changed_catalog(random: Random, catalog: Document, periods: list[str]) -> Document:
    """Other prices, rates, fees and timeouts, or the default with a version more."""
    if random.random() < 0.2:
        return other_catalog()
    catalog = json.loads(json.dumps(catalog))
    start = random.choice(periods) + random.choice(["-01", "-11"])
    if random.random() < 0.3 and all(version["from"] != start for version in catalog["versions"]):
        catalog["versions"].append(json.loads(json.dumps(catalog["versions"][0])) | {"from": start})
        catalog["versions"].sort(key=lambda version: version["from"])
    version = random.choice(catalog["versions"])
    version["credit_price"] = random.choice(["0.018", "0.0333", "0.0000015", "0.01486"])
    version["heartbeat_timeout_seconds"] = random.choice([60, 600, 601])
    random.choice(list(version["sizes"].values()))["credits_per_hour"] = random.choice([5, 33, 80])
    version["plans"]["scale"]["base_fee"] = random.choice(["170.00", "10.01"])
    return catalog
