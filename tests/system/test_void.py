# SPDX-License-Identifier: Apache-2.0
"""Taking invoices back: credit notes, what they return, what is refused, and what follows."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from billing import apply, close, invoices, meter
from chain import expect_chain
from harness import World, expect, expect_same, test
from histories import iso
from openapi import Description
from oracle import instant_of
from serving import at_once, serve
from test_crash import fleet, kill_after

PERIOD = "2026-09"
AS_OF = instant_of("2026-10-02T00:00:00Z")
NOVEMBER = instant_of("2026-11-02T00:00:00Z")
DECEMBER = instant_of("2026-12-02T00:00:00Z")


def account(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "name": f"{id} GmbH", "tax_rate_bps": 1900,
            "subscriptions": [{"plan": "scale", "from": "2026-09-15"}], **more}


GRANTS = [
    {"id": "promo", "unit": "credit", "amount": "30", "priority": 1, "from": "2026-09-01"},
    {"id": "goodwill", "unit": "usd", "amount": "25.00", "from": "2026-09-01"},
]


def event(id: str, type: str, time: str, account: str = "acme", **data: Any) -> bytes:
    return json.dumps({
        "specversion": "1.0", "id": id, "source": "/s", "type": f"vm.{type}", "subject": f"{account}-vm",
        "time": time, "data": {"account": account, **data},
    }).encode()


def ran(first: str, last: str, account: str = "acme", size: str = "xlarge") -> list[bytes]:
    """A run from the one day's noon to the other's."""
    return [event(f"{first} start", "started", f"{first}T12:00:00Z", account, size=size),
            event(f"{first} stop", "stopped", f"{last}T12:00:00Z", account)]


def void(world: World, number: str, reason: str = "wrong address", as_of: int = AS_OF, *,
         exit: Any = 0) -> Any:
    return world.tally("invoices", "void", number, "--reason", reason, "--as-of", iso(as_of), exit=exit)


def show(world: World, number: str) -> dict[str, Any]:
    return world.json("invoices", "show", number)


def negated(amount: str) -> str:
    return amount if amount == "0.00" else amount[1:] if amount[0] == "-" else f"-{amount}"


def billed(world: World) -> dict[str, Any]:
    """September closed, for acme with grants and tax and for another; acme's invoice."""
    apply(world, {"accounts": [account("acme", grants=GRANTS), account("beta")]})
    meter(world, "events", ran("2026-09-10", "2026-09-27") + ran("2026-09-16", "2026-09-17", "beta"), AS_OF)
    close(world, PERIOD, AS_OF)
    return show(world, "INV-2026-000001")


def balances(world: World) -> list[tuple[str, str]]:
    with serve(world) as server:
        grants = server.client("finance").get("/v1/accounts/acme/credits").json["grants"]
    return [(grant["id"], grant["balance"]) for grant in grants]


# ---- the credit note ----


@test("a credit note says the invoice again with its amounts negated, and stands in the same chain")
def void_credit_note(world: World) -> None:
    invoice = billed(world)
    said = void(world, invoice["number"], 'wrong "address" — \U0001f642')
    expect_same("CN-2026-000001\n", said.stdout, "what void prints")
    for part in ("INV-2026-000001", "CN-2026-000001", "--period 2026-09 --account acme"):
        expect(part in said.stderr, f"{part} is told: {said}")
    note = show(world, "CN-2026-000001")
    lines = [line | {"amount": negated(line["amount"])} for line in invoice["lines"]]
    kinds = {line["kind"] for line in lines}
    expect({"base_fee", "credits", "grant", "tax"} <= kinds, f"lines of all kinds: {sorted(kinds)}")
    expected = invoice | {
        "number": "CN-2026-000001", "issued_at": "2026-10-02T00:00:00Z", "credits": "INV-2026-000001",
        "reason": 'wrong "address" — \U0001f642', "lines": lines,
        "subtotal": negated(invoice["subtotal"]), "total": negated(invoice["total"]),
        "hash": note["hash"], "previous_hash": show(world, "INV-2026-000002")["hash"],
    }
    expect_same(expected, note, "the credit note")
    members = list(invoice)
    at = members.index("status") + 1
    expect_same(members[:at] + ["credits", "reason"] + members[at:], list(note), "its members' order")
    expect_same(invoice | {"status": "voided"}, show(world, invoice["number"]), "the invoice")
    expect_chain(world)
    notices = world.psql("SELECT subject, data FROM notice WHERE type = 'tally.invoice.voided'")
    subject, data = notices.split("|", 1)
    expect_same(
        ("INV-2026-000001",
         {"account": "acme", "number": "CN-2026-000001", "credits": "INV-2026-000001",
          "reason": note["reason"], "period": PERIOD, "total": note["total"], "currency": "USD",
          "hash": note["hash"], "place": 3}),
        (subject, json.loads(data)), "the notice",
    )


@test("lists, texts, CSV and the service show credit notes and voided invoices as what they are")
def void_shown(world: World) -> None:
    invoice = billed(world)
    void(world, invoice["number"], "=1+1, \"twice\"")
    listed = invoices(world, PERIOD, AS_OF)
    expect_same(["CN-2026-000001", "INV-2026-000001", "INV-2026-000002"],
                [i["number"] for i in listed], "the list's numbers")
    expect_same(["issued", "voided", "issued"], [i["status"] for i in listed], "the list's status")
    for one in listed:
        expect_same(show(world, one["number"]), one, "one of the list")
    table = world.tally("invoices", "list", "--period", PERIOD).stdout
    total = f"{float(invoice['total']):,.2f}"
    for part in (f"-{total}  takes back INV-2026-000001", f"{total}  voided", "2 invoices, 1 credit note"):
        expect(part in table, f"{part} in the table:\n{table}")
    expect(table.splitlines()[-1].endswith(listed[2]["total"]), f"the table's sum:\n{table}")
    rows = world.tally("invoices", "list", "--period", PERIOD, "--format", "csv").stdout.splitlines()
    expect(rows[0].endswith(",subtotal,total,credits,reason"), f"the head of CSV: {rows[0]}")
    tail = ",".join((negated(invoice["subtotal"]), negated(invoice["total"]), "INV-2026-000001"))
    expect(rows[1].endswith(tail + ',"\'=1+1, ""twice"""'), f"the credit note in CSV: {rows[1]}")
    expect(",voided," in rows[2] and rows[2].endswith(",,"), f"the invoice in CSV: {rows[2]}")
    text = world.tally("invoices", "show", "CN-2026-000001").stdout
    expect(text.startswith("Credit note CN-2026-000001 takes back INV-2026-000001\n"), text)
    expect("Reason    =1+1, \"twice\"\n" in text, f"the reason in\n{text}")
    text = world.tally("invoices", "show", "INV-2026-000001").stdout
    expect(text.startswith("Invoice INV-2026-000001  (voided)\n"), text)
    with serve(world) as server:
        client = server.client("customer", "acme")
        described = Description.of(client)
        for one in listed[:2]:
            reply = client.get(f"/v1/invoices/{one['number']}")
            described.check(described.operation("showInvoice"), reply, 200)
            expect_same(one, reply.json, "over HTTP")
        page = client.get("/v1/accounts/acme/invoices").json["invoices"]
        expect_same(listed[:2], page, "acme's invoices over HTTP, the last issued first")


@test("what cannot be voided is refused, and nothing is done; a reason must be one")
def void_refused(world: World) -> None:
    number = billed(world)["number"]
    before = expect_chain(world)
    for reason in ("", "   ", "x" * 501, "two\nlines", "a\tb", "\x7f", "\u0085", os.fsdecode(b"\xff")):
        ended = void(world, number, reason, exit=2)
        expect("--reason" in ended.stderr, f"--reason is named: {ended}")
    expect_same(2, void(world, "INV-2026-000009", exit=2).exit, "exit where there is no such invoice")
    expect("INV-2026-000009" in void(world, "INV-2026-000009", exit=2).stderr, "the number is named")
    world.tally("invoices", "void", number, exit=2)
    world.tally("invoices", "void", "--reason", "r", exit=2)
    expect_same(before, expect_chain(world), "the chain")
    void(world, number, "é" * 250)
    before = expect_chain(world)
    again = void(world, number, exit=3)
    expect("CN-2026-000001" in again.stderr, f"the credit note is named: {again}")
    note = void(world, "CN-2026-000001", exit=3)
    expect("credit note" in note.stderr, f"it is said to be a credit note: {note}")
    expect_same(before, expect_chain(world), "the chain")
    expect_same("1", world.psql("SELECT count(*) FROM unsettled WHERE account = 'acme'"),
                "notes that what acme is charged has changed")


@test("the database refuses to change, remove or empty credit notes")
def void_immutable(world: World) -> None:
    void(world, billed(world)["number"])
    for sql in ("UPDATE invoice SET reason = 'x' WHERE number = 'CN-2026-000001'",
                "UPDATE invoice_line SET cents = 0 WHERE number = 'CN-2026-000001'",
                "DELETE FROM invoice WHERE number = 'CN-2026-000001'",
                "DELETE FROM invoice_line WHERE number = 'CN-2026-000001'",
                "TRUNCATE invoice", "TRUNCATE invoice_line", "TRUNCATE chain",
                "DELETE FROM series WHERE series = 'CN-2026'"):
        caught = world.psql(
            f"DO $$ BEGIN {sql}; RAISE EXCEPTION 'was done';"
            " EXCEPTION WHEN restrict_violation THEN NULL; END $$"
        )
        expect_same("", caught, sql)
    expect_chain(world)


@test("credit notes have a series of their own for each year of issue")
def void_series(world: World) -> None:
    billed(world)
    void(world, "INV-2026-000002")
    late = void(world, "INV-2026-000001", as_of=instant_of("2027-01-01T00:00:00Z"))
    expect_same("CN-2027-000001\n", late.stdout, "the first of 2027")
    expect_chain(world)


# ---- what follows ----


@test("what grants had given is there again after a void, and is taken again by the next invoice")
def void_returns(world: World) -> None:
    invoice = billed(world)
    drawn, whole = [("promo", "0.0000"), ("goodwill", "0.00")], [("promo", "30.0000"), ("goodwill", "25.00")]
    expect_same(sorted(drawn), sorted(balances(world)), "balances after the closing")
    void(world, invoice["number"])
    expect_same(sorted(whole), sorted(balances(world)), "balances after the void")
    upcoming = world.json("invoices", "preview", "acme", "--period", PERIOD, "--as-of", iso(AS_OF))
    for member in ("lines", "subtotal", "total", "usage"):
        expect_same(invoice[member], upcoming[member], f"{member} of what September would be")
    said = close(world, PERIOD, AS_OF, "--account", "acme")
    expect("INV-2026-000003" in said.stderr, f"the new invoice is named: {said}")
    again = show(world, "INV-2026-000003")
    for member in ("account", "period", "lines", "subtotal", "total", "usage", "status"):
        expect_same(invoice[member], again[member], f"{member} of the new invoice")
    expect_same(sorted(drawn), sorted(balances(world)), "balances after closing again")
    chain = expect_chain(world)
    once_more = close(world, PERIOD, AS_OF, "--account", "acme")
    expect("nothing was changed" in once_more.stderr, f"what closing once more says: {once_more}")
    expect_same(chain, expect_chain(world), "the chain after closing once more")
    void(world, "INV-2026-000003")
    close(world, PERIOD, AS_OF, "--account", "acme")
    numbers = [i["number"] for i in expect_chain(world)]
    expect_same(["INV-2026-000001", "INV-2026-000002", "CN-2026-000001", "INV-2026-000003",
                 "CN-2026-000002", "INV-2026-000004"], numbers, "the numbers in their order")


def carried(world: World) -> tuple[str, str]:
    """October's invoice carries forward what September was billed too much, November's draws from
    it. Their numbers."""
    apply(world, {"accounts": [account("acme")]})
    lines = ran("2026-09-16", "2026-09-28")
    meter(world, "september", lines, AS_OF)
    close(world, PERIOD, AS_OF)
    september = show(world, "INV-2026-000001")
    expect(float(september["total"]) > 1000, f"what September comes to: {september['total']}")
    taken_back = [event(f"not {n}", "retracted", "2026-10-20T00:00:00Z") for n in range(2)]
    for n, id in enumerate(("2026-09-16 start", "2026-09-16 stop")):
        retraction = json.loads(taken_back[n])
        retraction["data"] |= {"source": "/s", "id": id}
        taken_back[n] = json.dumps(retraction).encode()
    meter(world, "retractions", taken_back, NOVEMBER)
    close(world, "2026-10", NOVEMBER)
    october = show(world, "INV-2026-000002")
    expect_same(["0.00", "carry_forward"], [october["total"], october["lines"][-1]["kind"]],
                "October's total and last line")
    return "INV-2026-000002", "INV-2026-000003"


@test("an invoice whose carried amount was drawn is not voided, until the one that drew it is")
def void_carried(world: World) -> None:
    october, november = carried(world)
    world.fresh()
    carried(world)
    void(world, october, as_of=NOVEMBER)  # nothing has been drawn
    carry = f"carry:{october}"
    with serve(world) as server:
        grants = server.client("finance").get("/v1/accounts/acme/credits").json["grants"]
        expect(carry not in [grant["id"] for grant in grants], f"{carry} is no grant any more")
    close(world, "2026-10", NOVEMBER, "--account", "acme")
    expect_chain(world)
    world.fresh()
    carried(world)
    close(world, "2026-11", DECEMBER)
    drawn = [line for line in show(world, november)["lines"] if line.get("grant") == carry]
    expect_same(1, len(drawn), "lines of November that draw what October carried")
    before = expect_chain(world)
    refused = void(world, october, as_of=DECEMBER, exit=3)
    for part in (october, november, negated(drawn[0]["amount"])):
        expect(part in refused.stderr, f"{part} is named: {refused}")
    expect_same(before, expect_chain(world), "the chain after what was refused")
    void(world, november, as_of=DECEMBER)
    void(world, october, as_of=DECEMBER)
    expect_chain(world)


# ---- at once, and killed ----


@test("an invoice that is voided by many at once has exactly one credit note")
def void_at_once(world: World) -> None:
    number = billed(world)["number"]
    ended = at_once([lambda: void(world, number, exit=(0, 3)) for _ in range(8)])
    expect_same([0] + [3] * 7, sorted(one.exit for one in ended), "exits")
    for one in ended:
        expect(one.exit == 0 or "CN-2026-000001" in one.stderr, f"the credit note is named: {one}")
    expect_same(3, len(expect_chain(world)), "invoices and credit notes")


def expect_whole(world: World) -> None:
    """Each credit note has its lines, its notice, and undoes its invoice."""
    halves = world.psql(
        "SELECT count(*) FROM invoice c JOIN invoice i ON i.number = c.credits_number"
        " WHERE c.total_cents <> -i.total_cents OR c.subtotal_cents <> -i.subtotal_cents"
        " OR (SELECT count(*) FROM invoice_line l WHERE l.number = c.number)"
        " <> (SELECT count(*) FROM invoice_line l WHERE l.number = i.number)"
        " OR (SELECT sum(cents) FROM invoice_line l WHERE l.number = c.number) <> c.total_cents"
        " OR NOT EXISTS (SELECT FROM notice n WHERE n.type = 'tally.invoice.voided'"
        " AND n.subject = i.number AND n.data->>'number' = c.number)"
    )
    expect_same("0", halves, "credit notes that are not whole")
    counted = world.psql(
        "SELECT (SELECT count(*) FROM invoice WHERE kind = 1),"
        " (SELECT count(DISTINCT credits_number) FROM invoice WHERE kind = 1),"
        " (SELECT count(*) FROM notice WHERE type = 'tally.invoice.voided')"
    )
    expect_same(1, len(set(counted.split("|"))), f"credit notes, what they void, notices: {counted}")


@test("voids while a closing runs, all killed at random: each void is whole or was not done", seconds=240)
def void_killed(world: World) -> None:
    random = world.random
    accounts, lines = fleet(random, 2500)
    apply(world, accounts)
    meter(world, "events", lines, NOVEMBER)
    closing = ["invoices", "close", "--as-of", iso(DECEMBER), "--period"]
    world.tally(*closing, "2026-10")
    numbers = [i["number"] for i in invoices(world, "2026-10", DECEMBER)]
    began = time.monotonic()
    void(world, numbers[0], as_of=DECEMBER)
    whole = time.monotonic() - began
    done, killed = {numbers[0]}, 0
    for _ in range(30):
        other = world.start(*closing, "2026-11")
        some = random.sample(numbers[:40], 3)  # some are voided again and again
        voids = [world.start("invoices", "void", number, "--reason", "r", "--as-of", iso(DECEMBER))
                 for number in some]
        for number, process in zip(some, voids):
            if kill_after(process, random.uniform(0, whole)):
                killed += 1
                whole *= 1.05  # beside others it takes longer: about half shall come through
            else:
                whole *= 0.95
                expect(process.returncode in (0, 3), f"exit of a void: {process.returncode}")
                done.add(number)
        kill_after(other, random.uniform(0, 0.3))
    expect(killed > 5 and len(done) > 5, f"{killed} voids were killed, {len(done)} done")
    world.tally(*closing, "2026-11")
    voided = {i["credits"] for i in expect_chain(world) if "credits" in i}
    expect(done <= voided, f"voids that were told to be done and are not: {sorted(done - voided)}")
    expect_whole(world)
