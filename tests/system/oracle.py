# SPDX-License-Identifier: Apache-2.0
"""The oracle: usage, invoices and dead letters, the obvious and slow way.

It knows nothing of the product's code: it is written from the contract, to be compared with it.
By itself it checks the scenarios:  python3 tests/system/oracle.py DIRECTORY-OF-SCENARIOS
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from oracle_decode import day_of, instant_of
from oracle_books import Books
from oracle_usage import Catalog, Ledger, Usage

# The catalogue that is in place after `tally migrate`.
DEFAULT_CATALOG: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "catalog" / "default.json").read_text()
)


def usage_rows(usage: Usage) -> list[dict[str, Any]]:
    """Usage in the shape of the scenarios' expectation."""
    return [
        {"account": account, "day": day.isoformat(), "size": size, "minutes": minutes}
        for (account, day, size), minutes in sorted(usage.items())
    ]


def ledger_of(
    accounts: dict[str, Any], lines: Iterable[bytes], as_of: int, catalog: dict[str, Any]
) -> Ledger:
    ledger = Ledger(Catalog(catalog), [account["id"] for account in accounts["accounts"]])
    ledger.meter(lines, as_of)
    return ledger


def invoices_of(
    accounts: dict[str, Any], catalog: Catalog, usage: Usage, periods: list[str], as_of: int
) -> list[dict[str, Any]]:
    """Everything was known before the first closing; all are issued in the year of `as_of`."""
    books = Books(accounts["accounts"], catalog)
    for period in periods:
        books.close(period, usage, year_of(as_of))
    return books.invoices


def year_of(instant: int) -> str:
    return str(day_of(instant).year)


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file of events; an empty line is no event."""
    return [line for line in path.read_bytes().split(b"\n") if line.strip()]


def answer(scenario: Path) -> dict[str, Any]:
    """What the oracle expects of a scenario, in the shape of its expected.json."""
    accounts = json.loads((scenario / "accounts.json").read_text())
    expected = json.loads((scenario / "expected.json").read_text())
    as_of = instant_of(expected["as_of"])
    ledger = ledger_of(accounts, [], as_of, DEFAULT_CATALOG)
    books = Books(accounts["accounts"], ledger.catalog)
    for step, argument in steps_of(scenario, expected["periods"]):
        if step == "meter":
            ledger.meter(lines_of(scenario / argument), as_of)
        else:
            books.close(argument, ledger.usage(as_of), year_of(as_of))
    return expected | {
        "usage": usage_rows(ledger.usage(as_of)),
        "invoices": sorted(books.invoices, key=lambda i: (i["period"], i["account"])),
    }


def steps_of(scenario: Path, periods: list[str]) -> list[list[str]]:
    steps = scenario / "steps.json"
    if steps.exists():
        return json.loads(steps.read_text())
    return [["meter", "events.ndjson"]] + [["close", period] for period in periods]


def difference(expected: Any, got: Any, where: str = "") -> str | None:
    """The first place where `got` lacks what is expected; it may have more members."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key, value in expected.items():
            if key not in got:
                return f"{where}.{key}: expected {value!r}, got nothing"
            problem = difference(value, got[key], f"{where}.{key}")
            if problem:
                return problem
        return None
    if isinstance(expected, list) and isinstance(got, list):
        for index, (one, other) in enumerate(zip(expected, got)):
            problem = difference(one, other, f"{where}[{index}]")
            if problem:
                return f"{problem}\n  expected {one}\n  got      {other}"
        if len(expected) != len(got):
            surplus = max(expected, got, key=len)[min(len(expected), len(got)) :]
            return f"{where}: expected {len(expected)}, got {len(got)}; surplus {surplus[:3]}"
        return None
    return None if expected == got else f"{where}: expected {expected!r}, got {got!r}"


def check(scenario: Path) -> str | None:
    """What the oracle and a scenario's expectation do not agree on."""
    return difference(json.loads((scenario / "expected.json").read_text()), answer(scenario))


def main() -> int:
    failed = 0
    for scenario in sorted(Path(sys.argv[1]).iterdir()):
        problem = check(scenario)
        failed += problem is not None
        print(f"{scenario.name}: {problem or 'agrees'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
