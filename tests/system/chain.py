# SPDX-License-Identifier: Apache-2.0
"""The chain of invoices and credit notes, computed again from what docs/invoices.md says."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from harness import World, expect, expect_same

# The members of what an invoice keeps, in their order; by the member that holds the objects.
MEMBERS = {
    "inputs": ["period", "horizon", "tax_rate_bps", "segments", "usage", "grants", "adjustments"],
    "segments": ["from", "to", "version", "plan", "active", "credit_price", "base_fee_cents",
                 "included_cm", "discount_bps", "minimum_cents"],
    "usage": ["size", "credits_per_hour", "minutes"],
    "grants": ["id", "unit", "amount", "balance", "priority", "from", "expires", "carried"],
    "adjustments": ["period", "cents", "charged_cents", "due_cents", "rated"],
}
MEMBERS["rated"] = MEMBERS["inputs"]


def in_order(value: Any, kind: str) -> Any:
    if isinstance(value, list):
        return [in_order(element, kind) for element in value]
    if not isinstance(value, dict):
        return value
    expect(set(value) <= set(MEMBERS[kind]), f"unknown members of {kind}: {sorted(value)}")
    return {name: in_order(value[name], name) for name in MEMBERS[kind] if name in value}


def compact(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f")


def hash_of(previous: str, invoice: dict[str, Any], kept: dict[str, Any]) -> str:
    derived = ("status", "hash", "previous_hash")
    content = {name: value for name, value in invoice.items() if name not in derived}
    rest = {
        "catalog_revision": kept["catalog_revision"],
        "account_revision": kept["account_revision"],
        "inputs": in_order(kept["inputs"], "inputs"),
    }
    lines = [previous, compact(content), compact(rest)]
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


def expect_chain(world: World) -> list[dict[str, Any]]:
    """Every hash is that of the content and of the one before, the head is the last, and both series
    have no gap, in the order of issue. The invoices and credit notes, in that order."""
    shown = {}
    for period in world.psql("SELECT DISTINCT to_char(period, 'YYYY-MM') FROM invoice").split():
        shown |= {i["number"]: i for i in world.json("invoices", "list", "--period", period)}
    rows = world.psql(
        "SELECT json_build_object('number', number, 'place', place, 'inputs', inputs,"
        " 'catalog_revision', catalog_revision, 'account_revision', account_revision)"
        " FROM invoice ORDER BY place"
    ).splitlines()
    chain, previous, last = [], "0" * 64, Counter()
    for place, row in enumerate(map(json.loads, rows), 1):
        invoice = shown.pop(row["number"])
        series, count = invoice["number"].rsplit("-", 1)
        last[series] += 1
        expect_same(f"{last[series]:06}", count, f"the number at place {place}, in its series")
        expect_same(place, row["place"], f"the place of {invoice['number']}")
        expect_same(previous, invoice["previous_hash"], f"the hash before {invoice['number']}")
        previous = hash_of(previous, invoice, row)
        expect_same(previous, invoice["hash"], f"the hash of {invoice['number']}")
        chain.append(invoice)
    expect_same({}, shown, "invoices that are not in the chain")
    head = world.psql("SELECT place || '|' || encode(hash, 'hex') FROM chain")
    expect_same(f"{len(chain)}|{previous}", head, "the head of the chain")
    taken = dict(row.split("|") for row in world.psql("SELECT series, last FROM series").splitlines())
    expect_same({series: str(count) for series, count in last.items()}, taken, "the series")
    return chain
