# SPDX-License-Identifier: Apache-2.0
"""The steps that many tests share: apply, meter, close, and compare with the oracle."""

from __future__ import annotations

from collections import Counter
from datetime import date
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

from harness import Ran, World, expect, expect_same
from histories import World as History
from histories import iso
from oracle import Ledger, Usage, difference, invoices_of, ledger_of
from oracle_rate import money, rounded
from oracle_usage import Catalog

EVER = ["--from", "2020-01-01", "--to", "2031-01-01"]


def apply(world: World, accounts: dict[str, Any], catalog: dict[str, Any] | None = None) -> None:
    if catalog is not None:
        world.tally("catalog", "apply", world.write("catalog.json", catalog))
    world.tally("accounts", "apply", world.write("accounts.json", accounts))


def meter(world: World, name: str, lines: list[bytes] | Path, as_of: int, *more: Any) -> None:
    path = lines if isinstance(lines, Path) else world.write(name, lines)
    world.tally("meter", "--file", path, "--as-of", iso(as_of), *more)


def close(world: World, period: str, as_of: int, *more: Any, exit: Any = 0) -> Ran:
    return world.tally(
        "invoices", "close", "--period", period, "--as-of", iso(as_of), *more, exit=exit
    )


def invoices(world: World, period: str, as_of: int) -> list[dict[str, Any]]:
    return world.json("invoices", "list", "--period", period, "--as-of", iso(as_of))


def reasons(world: World) -> Counter[str]:
    return Counter(letter["reason"] for letter in world.json("dead-letters", "list"))


def usage(world: World, account: str, as_of: int, catalog: Catalog | None = None) -> Usage:
    """An account's minutes per day and size; its sums are checked on the way."""
    answer = world.json(
        "usage", account, *EVER, "--window", "day", "--group-by", "size", "--as-of", iso(as_of)
    )
    expect_same(account, answer["account"], "the account of its usage")
    minutes: Usage = {}
    for row in answer["rows"]:
        key = (account, date.fromisoformat(row["start"][:10]), row["size"])
        expect(key not in minutes, f"two rows of usage for {key}")
        minutes[key] = row["minutes"]
        if catalog is not None:
            rate = catalog.rate(row["size"], key[1])
            expect_same(rate * row["minutes"], row["credit_minutes"], f"credit-minutes of {key}")
        expect_same(credits(row["credit_minutes"]), row["credits"], f"credits of {key}")
    for member in ("minutes", "credit_minutes"):
        total = sum(row[member] for row in answer["rows"])
        expect_same(total, answer["total"][member], f"total {member} of {account}")
    return minutes


def credits(credit_minutes: int) -> str:
    """Credits with four decimals, rounded."""
    ten_thousandths = rounded(Fraction(credit_minutes * 10000, 60))
    return f"{ten_thousandths // 10000}.{ten_thousandths % 10000:04}"


def expect_usage(world: World, ledger: Ledger, accounts: list[str], as_of: int) -> None:
    everything = ledger.usage(as_of)
    for account in accounts:
        expected = {key: count for key, count in everything.items() if key[0] == account}
        got = usage(world, account, as_of, ledger.catalog)
        expect_same(expected, got, f"usage of {account} as of {iso(as_of)}")


def expect_invoices(expected: list[dict[str, Any]], got: list[dict[str, Any]], what: str) -> None:
    problem = difference(expected, got)
    expect(problem is None, f"{what}: {problem}")
    for invoice in got:
        check_invoice(invoice)


def check_invoice(invoice: dict[str, Any]) -> None:
    """What must hold of every invoice, whatever was used."""
    number = invoice["number"]
    expect_same("USD", invoice["currency"], f"currency of {number}")
    expect(invoice["status"] in ("issued", "voided"), f"status of {number}")
    expect_same(64, len(invoice["hash"]), f"length of the hash of {number}")
    sums = {"subtotal": Fraction(0), "total": Fraction(0)}
    for line in invoice["lines"]:
        amount = Fraction(line["amount"])
        sums["total"] += amount
        if line["kind"] not in ("grant", "carry_forward", "tax"):
            sums["subtotal"] += amount
    for name, total in sums.items():
        expect_same(money(int(total * 100)), invoice[name], f"{name} of {number}")
    sizes = [row["size"] for row in invoice["usage"]]
    expect_same(sorted(sizes), sizes, f"order of sizes of {number}")
    for row in invoice["usage"]:
        expect_same(credits(row["credit_minutes"]), row["credits"], f"credits of {number}")


def check_chain(issued: list[dict[str, Any]]) -> None:
    """Numbers without a gap, in order of account within a closing; each names the one before."""
    last: dict[str, int] = Counter()
    for before, invoice in zip([None, *issued], issued):
        kind, year, count = invoice["number"].split("-")
        last[year] += 1
        expect_same(("INV", f"{last[year]:06}"), (kind, count), "the next invoice's number")
        if before is None:
            continue
        expect_same(before["hash"], invoice["previous_hash"], f"chain at {invoice['number']}")
        if before["period"] == invoice["period"]:
            expect(before["account"] < invoice["account"], f"order at {invoice['number']}")


def expect_history(world: World, history: History, ledger: Ledger, sample: list[str]) -> None:
    """Dead letters, usage of some accounts, and the invoices of all, as the oracle has them."""
    expect_same(ledger.reasons(), reasons(world), "dead letters by reason")
    expect_usage(world, ledger, sample, history.as_of)
    expected = invoices_of(
        history.accounts,
        ledger.catalog,
        ledger.usage(history.as_of),
        history.periods,
        history.as_of,
    )
    issued = []
    for period in history.periods:
        close(world, period, history.as_of)
        got = invoices(world, period, history.as_of)
        ours = [invoice for invoice in expected if invoice["period"] == period]
        expect_invoices(ours, got, f"invoices of {period}")
        issued += got
    check_chain(issued)


def pieces(random: Random, lines: list[bytes], number: int) -> list[list[bytes]]:
    cuts = sorted(random.randrange(len(lines)) for _ in range(number - 1))
    return [lines[a:b] for a, b in zip([0, *cuts], [*cuts, len(lines)])]


def oracle_of(history: History) -> Ledger:
    return ledger_of(history.accounts, history.lines, history.as_of, history.catalog)
