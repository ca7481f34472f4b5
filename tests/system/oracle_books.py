# SPDX-License-Identifier: Apache-2.0
"""The books: closings in order, adjustments, credit notes, grants in usd, carry and tax. Section 4.

Nothing is kept but what was issued. Each invoice is made from all standing ones and from a rating
of every period from the first, with what is known now.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from oracle_rate import FOREVER, Account, Grant, Rated, days_of, money, next_period, rounded
from oracle_usage import Catalog, Usage


class Refused(Exception):
    """A rule says no."""


@dataclass
class Issued:
    """An invoice, and what later ones need to know of it, in cents."""

    document: dict[str, Any]
    own: int  # the lines of steps 1 to 5
    adjusted: dict[str, int]  # by period
    drawn: dict[str, int]  # from grants in usd, by id
    carried: int = 0
    voided: bool = False

    @property
    def number(self) -> str:
        return self.document["number"]

    def of(self, account: str, period: str | None = None) -> bool:
        return self.document["account"] == account and period in (None, self.document["period"])


class Books:
    def __init__(self, accounts: list[dict[str, Any]], catalog: Catalog) -> None:
        self.catalog = catalog
        self.documents: dict[str, dict[str, Any]] = {}
        self.periods: list[str] = []  # closed, whether or not one is open again for somebody
        self.issued: list[Issued] = []
        self.notes: list[dict[str, Any]] = []
        self.open_again: set[tuple[str, str]] = set()  # voided, and not closed since
        self.series: Counter[str] = Counter()
        self.apply(accounts)

    # ---- what may change between closings ----

    def apply(self, accounts: list[dict[str, Any]]) -> None:
        self.documents |= {document["id"]: document for document in accounts}

    def account(self, identity: str) -> Account:
        return Account(self.documents[identity], self.catalog)

    # ---- closing ----

    def close(self, period: str, usage: Usage, year: str) -> None:
        """For every account; invoices are issued in that year."""
        self.periods.append(period)
        for identity in sorted(self.documents, key=str.encode):
            self.close_account(identity, period, usage, year)

    def close_account(self, identity: str, period: str, usage: Usage, year: str) -> None:
        invoice = self.make(identity, period, usage)
        self.open_again.discard((identity, period))
        if invoice is not None:
            invoice.document["number"] = self._number("INV", year)
            self.issued.append(invoice)

    def make(self, identity: str, period: str, usage: Usage) -> Issued | None:
        """The invoice as it would be issued now; None where there is nothing to bill."""
        account = self.account(identity)
        rated = self._rated(account, sorted({*self.periods, period}), usage)
        own = rated[period]
        lines = [{"kind": kind, "amount": money(amount)} for kind, amount in own.lines]
        invoice = Issued({}, own.sum, self._adjust(account, period, rated, lines), {})
        subtotal = own.sum + sum(invoice.adjusted.values())
        if not own.usage and not lines:
            return None
        due = self._pay(account, period, lines, subtotal, invoice)
        tax = rounded(Fraction(due * account.tax_bps, 10000))
        if tax != 0:
            lines.append({"kind": "tax", "amount": money(tax)})
        invoice.document = {
            "account": identity,
            "name": self.documents[identity]["name"],
            "period": period,
            "usage": [{"size": s, "minutes": count} for s, count in own.usage.items()],
            "included_credit_minutes": own.included,
            "granted_credit_minutes": own.granted,
            "purchased_credit_minutes": own.purchased,
            "lines": lines,
            "subtotal": money(subtotal),
            "total": money(due + tax),
        }
        return invoice

    def _rated(self, account: Account, periods: list[str], usage: Usage) -> dict[str, Rated]:
        """Every period by itself, in order, on full credit grants: what each comes to is N."""
        grants = account.grants("credit")
        return {period: account.rate(period, usage, grants) for period in periods}

    def _adjust(
        self, account: Account, period: str, rated: dict[str, Rated], lines: list[Any]
    ) -> dict[str, int]:
        """Step 6: a line for each closed period that comes to more or less than was charged."""
        adjusted = {}
        for closed in rated:
            if closed != period and (account.id, closed) in self.open_again:
                continue
            charged = self._charged(account.id, closed)
            charged += rated[period].sum if closed == period else 0
            difference = rated[closed].sum - charged
            if difference != 0:
                adjusted[closed] = difference
                lines.append(
                    {"kind": "adjustment", "amount": money(difference), "period": closed}
                )
        return adjusted

    def _pay(
        self, account: Account, period: str, lines: list[Any], due: int, invoice: Issued
    ) -> int:
        """Steps 7 and 8: grants in usd, in order; what is negative is carried forward."""
        for grant in self._usd(account):
            drawn = min(grant.balance, max(due, 0))
            if drawn > 0 and any(grant.in_force(day) for day in days_of(period)):
                due -= drawn
                invoice.drawn[grant.id] = drawn
                lines.append({"kind": "grant", "amount": money(-drawn), "grant": grant.id})
        if due < 0:
            lines.append({"kind": "carry_forward", "amount": money(-due)})
            invoice.carried = -due
            due = 0
        return due

    def _usd(self, account: Account) -> list[Grant]:
        """The account's grants in usd, then what its invoices carried, with what is left of each."""
        grants = account.grants("usd")
        carried = [
            Grant(
                id=f"carry:{invoice.number}",
                unit="usd",
                balance=invoice.carried,
                priority=100,
                start=f"{next_period(invoice.document['period'])}-01",
                expires=FOREVER,
            )
            for invoice in self.standing(account.id)
            if invoice.carried > 0
        ]
        grants += sorted(carried, key=lambda grant: grant.order)
        for grant in grants:
            grant.balance = max(0, grant.balance - self._drawn(account.id, grant.id))
        return grants

    # ---- what stands ----

    def standing(self, account: str, period: str | None = None) -> list[Issued]:
        """The account's invoices that no credit note names; of one period, or of all."""
        return [i for i in self.issued if i.of(account, period) and not i.voided]

    def _charged(self, account: str, period: str) -> int:
        """What standing invoices charge for a period: by own lines and by adjustments."""
        own = sum(invoice.own for invoice in self.standing(account, period))
        return own + sum(i.adjusted.get(period, 0) for i in self.standing(account))

    def _drawn(self, account: str, grant: str) -> int:
        return sum(invoice.drawn.get(grant, 0) for invoice in self.standing(account))

    # ---- voiding ----

    def void(self, number: str, reason: str, year: str) -> None:
        """A credit note; raises Refused where what the invoice carried forward has been drawn."""
        [invoice] = [i for i in self.issued if i.number == number]
        document = invoice.document
        if invoice.voided or self._drawn(document["account"], f"carry:{number}") > 0:
            raise Refused(number)
        invoice.voided = True
        self.open_again.add((document["account"], document["period"]))
        lines = [line | {"amount": negated(line["amount"])} for line in document["lines"]]
        self.notes.append(
            document
            | {
                "number": self._number("CN", year),
                "credits": number,
                "reason": reason,
                "lines": lines,
                "subtotal": negated(document["subtotal"]),
                "total": negated(document["total"]),
            }
        )

    def _number(self, kind: str, year: str) -> str:
        self.series[kind, year] += 1
        return f"{kind}-{year}-{self.series[kind, year]:06}"

    # ---- for comparing ----

    @property
    def invoices(self) -> list[dict[str, Any]]:
        """What was issued, in order; credit notes behind."""
        statuses = ["voided" if invoice.voided else "issued" for invoice in self.issued]
        documents = [invoice.document for invoice in self.issued] + self.notes
        statuses += ["issued"] * len(self.notes)
        return [document | {"status": s} for document, s in zip(documents, statuses)]

    def of_period(self, period: str) -> list[dict[str, Any]]:
        return [document for document in self.invoices if document["period"] == period]

    def known_from_the_start(self, account: str, usage: Usage) -> int:
        """What all closed periods together come to, in cents, had everything been known."""
        rated = self._rated(self.account(account), self.periods, usage)
        return sum(period.sum for period in rated.values())

    def credit_drawn(self, account: str, usage: Usage) -> dict[str, int]:
        """What all closed periods together draw from each credit grant, in credit-minutes."""
        customer = self.account(account)
        grants = customer.grants("credit")
        full = {grant.id: grant.balance for grant in grants}
        for period in self.periods:
            customer.rate(period, usage, grants)
        return {grant.id: full[grant.id] - grant.balance for grant in grants}


def negated(amount: str) -> str:
    return money(-rounded(Fraction(amount) * 100))
