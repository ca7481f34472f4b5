# SPDX-License-Identifier: Apache-2.0
"""What a period costs by itself: section 3, step by step.

Amounts are whole cents, usage whole credit-minutes; what lies between is a Fraction.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from itertools import groupby
from typing import Any

from oracle_usage import Catalog, Usage

FOREVER = "9999-12-31"


def rounded(amount: Fraction) -> int:
    """To a whole number, half away from zero."""
    whole = (2 * abs(amount) + 1) // 2
    return int(whole if amount >= 0 else -whole)


def cents(text: str | None) -> int:
    return rounded(Fraction(text or "0") * 100)


def money(amount: int) -> str:
    return f"{'-' if amount < 0 else ''}{abs(amount) // 100}.{abs(amount) % 100:02}"


def days_of(period: str) -> list[date]:
    day = date.fromisoformat(f"{period}-01")
    days = []
    while day.isoformat()[:7] == period:
        days.append(day)
        day += timedelta(days=1)
    return days


def next_period(period: str) -> str:
    return (days_of(period)[-1] + timedelta(days=1)).isoformat()[:7]


@dataclass
class Grant:
    id: str
    unit: str
    balance: int  # cents, or credit-minutes
    priority: int
    start: str
    expires: str

    @property
    def order(self) -> tuple[int, str, str, str]:
        return (self.priority, self.expires, self.start, self.id)

    def in_force(self, day: date) -> bool:
        return self.start <= day.isoformat() < self.expires


@dataclass
class Segment:
    """A run of days with one subscription and one catalogue version."""

    days: list[date]
    terms: dict[str, Any]
    price: Fraction  # dollars per credit
    subscribed: bool
    bought: int = 0  # credit-minutes


@dataclass
class Rated:
    """A period rated by itself: steps 1 to 5."""

    usage: dict[str, int]
    lines: list[tuple[str, int]] = field(default_factory=list)
    included: int = 0
    granted: int = 0
    purchased: int = 0

    def add(self, kind: str, amount: int) -> None:
        if amount != 0 or kind in ("credits", "discount"):
            self.lines.append((kind, amount))

    @property
    def sum(self) -> int:
        return sum(amount for _, amount in self.lines)


class Account:
    def __init__(self, document: dict[str, Any], catalog: Catalog) -> None:
        self.id: str = document["id"]
        self.tax_bps: int = document.get("tax_rate_bps") or 0
        self.catalog = catalog
        self.subscriptions = sorted(document["subscriptions"], key=lambda s: s["from"])
        self.documents = document.get("grants") or []

    def terms(self, index: int, day: date) -> dict[str, Any]:
        """The terms on a day, of a subscription or of the last plan before an end."""
        subscription = self.subscriptions[index]
        if subscription["plan"] is None:
            return self.terms(index - 1, day)
        plan = self.catalog.version(day)["plans"][subscription["plan"]]
        return plan | (subscription.get("overrides") or {})

    def in_force(self, day: date) -> int:
        """The index of the subscription in force; -1 before the first."""
        return sum(s["from"] <= day.isoformat() for s in self.subscriptions) - 1

    def segments(self, period: str) -> list[Segment]:
        def terms_of(day: date) -> tuple[int, str]:
            return (self.in_force(day), self.catalog.version(day)["from"])

        segments = []
        for (index, _), run in groupby(days_of(period), key=terms_of):
            days = list(run)
            segments.append(
                Segment(
                    days=days,
                    terms=self.terms(max(index, 0), days[0]),
                    price=Fraction(self.catalog.version(days[0])["credit_price"]),
                    subscribed=index >= 0 and self.subscriptions[index]["plan"] is not None,
                )
            )
        return segments

    def grants(self, unit: str) -> list[Grant]:
        """The account's grants of this unit with full balances, in the order of drawing."""
        grants = [
            Grant(
                id=g["id"],
                unit=g["unit"],
                balance=rounded(Fraction(g["amount"]) * (100 if g["unit"] == "usd" else 60)),
                priority=100 if g.get("priority") is None else g["priority"],
                start=g["from"],
                expires=g.get("expires") or FOREVER,
            )
            for g in self.documents
        ]
        grants += self._signup()
        return sorted((g for g in grants if g.unit == unit), key=lambda g: g.order)

    def _signup(self) -> list[Grant]:
        for index, subscription in enumerate(self.subscriptions):
            if subscription["plan"] is None:
                continue
            terms = self.terms(index, date.fromisoformat(subscription["from"]))
            amount = cents(terms.get("signup_credit"))
            if amount > 0:
                return [Grant("signup", "usd", amount, 100, subscription["from"], FOREVER)]
        return []

    def rate(self, period: str, usage: Usage, credit_grants: list[Grant]) -> Rated:
        """Steps 1 to 5; draws on the credit grants."""
        segments = self.segments(period)
        length = len(days_of(period))
        rated = Rated(self._by_size(period, usage))
        for s in segments:
            if s.subscribed:
                base = Fraction(cents(s.terms.get("base_fee")) * len(s.days), length)
                rated.add("base_fee", rounded(base))
                included = Fraction(s.terms.get("included_credits") or 0)
                rated.included += rounded(included * 60 * len(s.days) / length)
        self._burn_down(segments, usage, rated, credit_grants)
        for s in segments:
            if s.bought > 0:
                price = Fraction(s.bought, 60) * s.price * 100
                rated.add("credits", rounded(price))
                discount_bps = s.terms.get("credit_discount_bps") or 0
                if discount_bps > 0:
                    rated.add("discount", -rounded(price * discount_bps / 10000))
        minimum = sum(
            rounded(Fraction(cents(s.terms.get("monthly_minimum")) * len(s.days), length))
            for s in segments
            if s.subscribed
        )
        if minimum > rated.sum:
            rated.add("minimum", minimum - rated.sum)
        return rated

    def _burn_down(
        self, segments: list[Segment], usage: Usage, rated: Rated, grants: list[Grant]
    ) -> None:
        pool = rated.included
        for segment in segments:
            for day in segment.days:
                due = sum(
                    count * self.catalog.rate(size, day)
                    for size, count in self._of_day(day, usage).items()
                )
                drawn = min(due, pool)
                pool, due = pool - drawn, due - drawn
                for grant in grants:
                    if grant.in_force(day):
                        drawn = min(due, grant.balance)
                        grant.balance, due = grant.balance - drawn, due - drawn
                        rated.granted += drawn
                segment.bought += due
                rated.purchased += due

    def _of_day(self, day: date, usage: Usage) -> dict[str, int]:
        sizes = self.catalog.version(day)["sizes"]
        counts = {size: usage.get((self.id, day, size), 0) for size in sizes}
        return {size: count for size, count in counts.items() if count > 0}

    def _by_size(self, period: str, usage: Usage) -> dict[str, int]:
        total: dict[str, int] = defaultdict(int)
        for day in days_of(period):
            for size, count in self._of_day(day, usage).items():
                total[size] += count
        return dict(sorted(total.items()))
