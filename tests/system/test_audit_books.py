# SPDX-License-Identifier: Apache-2.0
"""The audit of the books: what was issued as it should be is clean, at any moment of any history; and
whatever of it is changed behind tally's back is found, whichever column it stands in."""

from __future__ import annotations

import time
from typing import Any

from audited import (
    AUDIT_AT, HEAD_PROVES, HEAD_PROVES_KEPT, Books, Tampering, absurdities, audit, books_world,
    findings, kept_tamperings, rehash, rows_of, tamperings,
)
from billing import close, meter
from harness import World, expect, expect_same, test
from histories import iso
from oracle import instant_of
from oracle_decode import MINUTE, midnight
from oracle_rate import days_of, next_period
from settling import Bookkeeping
from test_void import account, apply, ran, void

OCTOBER = instant_of("2026-10-02T00:00:00Z")
NOVEMBER = instant_of("2026-11-02T00:00:00Z")
DECEMBER = instant_of("2026-12-02T00:00:00Z")
JANUARY = instant_of("2027-01-02T00:00:00Z")
SECONDS = 40  # for which one test draws worlds


def clean(world: World, at: int, *more: Any) -> None:
    audit(world, *more, at=at, exit=0)


class Audited(Bookkeeping):
    """Audits after every step, and after every closing that was not early: then all that was closed
    is charged as it should be, but for what is open again."""

    def step(self) -> None:
        super().step()
        clean(self.world, self.clock, "--pending-ok")

    def close(self) -> None:
        super().close()
        longest = max(v["heartbeat_timeout_seconds"] for v in self.catalog["versions"])
        end = midnight(days_of(next_period(self.books.periods[-1]))[0])
        if self.clock < end + longest * MINUTE // 60:
            return
        told = audit(self.world, "--format", "json", at=self.clock, exit=(0, 1))
        found = [row for row in findings(told) if row["check"] == "periods"]
        expect_same([], found, f"periods that are not charged as they should be at {iso(self.clock)}")


@test("after any step of any history of closings, late events, credit notes and changes in hindsight "
      "the audit finds nothing but what the next closing adjusts", seconds=180, heavy=True)
def audit_at_any_moment(world: World) -> None:
    random = world.random
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        world.fresh()
        first = random.choice(["2026-09", "2027-12", "2025-03"])
        books = Audited(world, random, first, 3, 6)
        for _ in range(12):
            books.step()
        books.settle()
        # Draws that shifted where there was nothing to bill are written with the next invoice.
        told = audit(world, "--format", "json", at=books.clock, exit=(0, 1))
        found = [row for row in findings(told) if not (row["check"] == "grants" and row["pending"])]
        expect_same([], found, "what is not as it should be when all is settled")


@test("books with every kind of line, grant, adjustment, credit note and closing are clean")
def audit_of_all_kinds(world: World) -> None:
    books_world(world)
    kinds = set(world.psql("SELECT DISTINCT kind FROM invoice_line").split())
    expect_same({"base_fee", "credits", "discount", "minimum", "adjustment", "grant", "carry_forward",
                 "tax"}, kinds, "the kinds of lines")
    for what in ("FROM invoice WHERE kind = 1", "FROM carried_grant", "FROM grant_draw WHERE unit = 0",
                 "FROM grant_draw WHERE unit = 1", "FROM grant_draw WHERE grant_id LIKE 'carry:%'",
                 "FROM grant_draw WHERE amount < 0", "FROM closing WHERE NOT closed",
                 "FROM closed_again", "FROM closed_again a JOIN invoice i USING (account, number)"
                 " JOIN invoice_line l ON l.account = i.account AND l.ref_period = i.period",
                 "FROM series WHERE series = 'INV-2027'"):
        expect(int(world.psql(f"SELECT count(*) {what}")) > 0, f"the world has rows {what}")
    clean(world, AUDIT_AT)
    clean(world, OCTOBER)  # when most of it was still to come


def expect_found(books: Books, tries: list[Tampering], **how: Any) -> None:
    missed = [missed for tampering in tries if (missed := books.missed(tampering, **how))]
    expect(not missed, f"{len(missed)} of {len(tries)} were missed\n" + "\n".join(missed))


@test("any column of any table of the books that is changed, emptied or filled, and any row that is "
      "taken away, copied or swapped, is found and named", seconds=600, heavy=True)
def audit_of_changed_books(world: World) -> None:
    books_world(world)
    tries = list(tamperings(world))
    expect_found(Books(world), tries)
    clean(world, AUDIT_AT)


@test("what no row should ever hold is found too, and stops nothing", seconds=600, heavy=True)
def audit_of_absurd_books(world: World) -> None:
    books_world(world)
    tables = ["invoice", "invoice_line", "grant_draw", "carried_grant", "account_history"]
    expect_found(Books(world), list(absurdities(world, tables)))


@test("the same of invoices where the chain was computed anew: rates, terms and sums tell",
      seconds=600, heavy=True)
def audit_of_a_chain_computed_anew(world: World) -> None:
    books_world(world)
    issued = ("invoice", "invoice_line", "grant_draw", "carried_grant")
    tries = [t for t in tamperings(world, 1) if t.table in issued and t.place not in HEAD_PROVES]
    expect_found(Books(world), tries, anew=True)


@test("whatever an invoice keeps is bound, member by member, also where the chain was computed anew",
      seconds=600, heavy=True)
def audit_of_kept_inputs(world: World) -> None:
    books_world(world)
    rows = rows_of(world, "invoice", "kind = 0 AND jsonb_array_length(inputs -> 'adjustments') > 0"
                   " AND inputs::text LIKE '%expires%' AND inputs::text LIKE '%carried%'")
    expect(rows, "an invoice keeps adjustments, grants that expire and amounts carried forward")
    tries = dict(kept_tamperings(rows[0]))
    expect(len(tries) > 40, f"it keeps little: {sorted(tries)}")
    expect(set(HEAD_PROVES_KEPT) <= set(tries), f"what cannot be proven is kept: {sorted(tries)}")
    expect_found(
        Books(world), [t for name, t in tries.items() if name not in HEAD_PROVES_KEPT], anew=True
    )


# ---- a head that was kept ----


def pay_no_tax(world: World, account: str) -> None:
    """All that an account was ever billed, as if its tax rate had been 0: consistent in itself."""
    where = f"WHERE account = '{account}'"
    world.psql("; ".join([
        *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in ("invoice", "invoice_line")),
        *(f"UPDATE {table} SET content = jsonb_set(content, '{{tax_rate_bps}}', '0') {where}"
          for table in ("account", "account_history")),
        f"UPDATE invoice SET inputs = jsonb_set(inputs, '{{tax_rate_bps}}', '0'), total_cents = total_cents"
        " - coalesce((SELECT sum(cents) FROM invoice_line l WHERE l.account = invoice.account"
        f" AND l.number = invoice.number AND l.kind = 'tax'), 0) {where}",
        f"DELETE FROM invoice_line {where} AND kind = 'tax'",
    ]))
    rehash(world)


@test("a chain computed anew over amounts that are right by themselves is found by a head that was kept")
def audit_of_a_kept_head(world: World) -> None:
    apply(world, {"accounts": [account("acme"), account("beta")]})
    meter(world, "events", ran("2026-09-16", "2026-09-27") + ran("2026-09-16", "2026-09-17", "beta"),
          OCTOBER)
    close(world, "2026-09", OCTOBER)
    said = audit(world, at=OCTOBER).stdout.split()
    place, head = said[said.index("head") + 1:][:2]
    expect_same(world.psql("SELECT place || ' ' || encode(hash, 'hex') FROM chain"), f"{place} {head}",
                "the head that is printed")
    close(world, "2026-10", NOVEMBER)
    audit(world, "--head", head, at=NOVEMBER)
    audit(world, "--head", "0" * 64, at=NOVEMBER)
    pay_no_tax(world, "beta")
    audit(world, at=NOVEMBER)
    told = audit(world, "--head", head, "--format", "json", at=NOVEMBER, exit=1)
    expect_same([("chain", "the chain does not contain the head that was kept: it was computed anew")],
                [(found["check"], found["what"]) for found in findings(told)], "what is found")


# ---- with what is known now ----


def about(told: Any) -> list[tuple[Any, ...]]:
    members = ("check", "account", "subject", "overcharged", "pending")
    return [tuple(found[member] for member in members) for found in findings(told)]


@test("what came after a closing is pending, with the amount and in whose favour, until the next one; "
      "where nothing says that it will be adjusted, it is a difference")
def audit_of_late_events(world: World) -> None:
    plan = {"plan": "enterprise", "from": "2026-09-01"}
    apply(world, {"accounts": [account("acme", subscriptions=[plan], tax_rate_bps=0)]})
    meter(world, "events", ran("2026-09-16", "2026-09-17"), OCTOBER)
    close(world, "2026-09", OCTOBER)
    audit(world, at=OCTOBER)
    meter(world, "late", ran("2026-09-20", "2026-09-21"), OCTOBER)
    price = "114.13"  # 48 hours of xlarge are 15,360 credits or 228.25; 24 had been 114.12
    expected = ("periods", "acme", "2026-09", f"-{price}", True)
    expect_same([expected], about(audit(world, "--format", "json", at=OCTOBER, exit=1)), "what is found")
    audit(world, "--pending-ok", at=OCTOBER)
    world.psql("CREATE TABLE kept AS TABLE unsettled; DELETE FROM unsettled")
    expect_same([(*expected[:-1], False)], about(audit(world, "--format", "json", at=OCTOBER, exit=1)),
                "what is found without a mark")
    audit(world, "--pending-ok", at=OCTOBER, exit=1)
    world.psql("INSERT INTO unsettled (account, since) SELECT account, since FROM kept")
    close(world, "2026-10", NOVEMBER)
    audit(world, at=NOVEMBER)


@test("while a period is open again a mark stays, whatever is closed meanwhile; without it, that is found")
def audit_of_open_periods(world: World) -> None:
    plan = {"plan": "enterprise", "from": "2026-09-01"}
    apply(world, {"accounts": [account("acme", subscriptions=[plan])]})
    meter(world, "events", ran("2026-09-16", "2026-09-17") + ran("2026-10-16", "2026-10-17"), NOVEMBER)
    close(world, "2026-09", NOVEMBER)
    close(world, "2026-10", NOVEMBER)
    void(world, "INV-2026-000001", as_of=NOVEMBER)
    void(world, "INV-2026-000002", as_of=NOVEMBER)
    clean(world, NOVEMBER)
    close(world, "2026-11", DECEMBER)
    clean(world, DECEMBER)
    meter(world, "late", ran("2026-11-20", "2026-11-21"), DECEMBER)
    clean(world, DECEMBER, "--pending-ok")
    close(world, "2026-10", DECEMBER, "--account", "acme")  # and adjusts November
    clean(world, DECEMBER)
    close(world, "2026-12", JANUARY)
    clean(world, JANUARY)
    world.psql("CREATE TABLE kept AS TABLE unsettled; DELETE FROM unsettled")
    meter(world, "later", ran("2026-12-20", "2026-12-21"), JANUARY)
    told = audit(world, "--pending-ok", "--format", "json", at=JANUARY, exit=1)
    expect_same([("2026-09", "it is open again, and nothing says that closings look at it")],
                [(f["subject"], f["what"]) for f in findings(told) if not f["pending"]], "what is found")
    world.psql("INSERT INTO unsettled (account, since) SELECT account, since FROM kept")
    close(world, "2026-09", JANUARY, "--account", "acme")  # which adjusts December alone
    clean(world, JANUARY)
