# SPDX-License-Identifier: Apache-2.0
"""A small real data set for what is asked over HTTP, around the real clock: accounts of every kind,
runs of last month and this one, invoices of last month."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from harness import World

ACCOUNT, OTHER, MISSING = "acme", "globex", "nobody"
VM = "k3x9qa"  # of acme's: it ran, and nothing holds a slot for it
RUNNING = "up-1"  # of acme's: it runs


def now() -> datetime:
    return datetime.now(timezone.utc)


def first_of(month: datetime, back: int = 0) -> datetime:
    day = month.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(back):
        day = (day - timedelta(days=1)).replace(day=1)
    return day


def last_period() -> str:
    return first_of(now(), 1).strftime("%Y-%m")


def accounts() -> dict[str, Any]:
    began = first_of(now(), 1).strftime("%Y-%m-%d")
    ended = first_of(now()).strftime("%Y-%m-%d")

    def one(id: str, plan: str = "scale", **more: Any) -> dict[str, Any]:
        return {"id": id, "name": f"{id} Ltd", "subscriptions": [{"plan": plan, "from": began}], **more}

    gone = one("gone")
    gone["subscriptions"].append({"plan": None, "from": ended})
    full = one("full", "enterprise")
    full["subscriptions"][0]["overrides"] = {"concurrency_limit": 1}
    unlimited = one("unlimited", "enterprise")
    unlimited["subscriptions"][0]["overrides"] = {"concurrency_limit": None}
    dry = one("dry", "build")
    dry["subscriptions"][0]["overrides"] = {"signup_credit": "0.00"}
    grants = [
        {"id": "promo", "unit": "credit", "amount": "500", "priority": 1, "from": began},
        {"id": "goodwill", "unit": "usd", "amount": "25.00", "from": began},
    ]
    return {
        "accounts": [
            one(ACCOUNT, grants=grants, tax_rate_bps=1900, spend_limit="2000.00"),
            one(OTHER), one("builder", "build"), one("paused", suspended=True),
            one("spent", spend_limit="0.01"), gone, full, unlimited, dry,
        ]
    }


def event(
    kind: str, at: datetime, account: str, vm: str, size: str | None = None, **data: Any
) -> bytes:
    data = {"account": account, **({"size": size} if size else {}), **data}
    time = at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps({
        "specversion": "1.0", "id": f"{vm} {kind} {time}", "source": "/small", "type": f"vm.{kind}",
        "subject": vm, "time": time, "data": data,
    }).encode()


def events() -> list[bytes]:
    lines: list[bytes] = []
    last, clock = first_of(now(), 1), now()
    for account, hours in ((ACCOUNT, 200), (OTHER, 3), ("gone", 5)):
        for day in range(3):
            at = last + timedelta(days=day, hours=1)
            lines.append(event("started", at, account, VM, "small"))
            lines.append(event("hibernated", at + timedelta(hours=hours / 10), account, VM))
    lines.append(event("started", clock - timedelta(minutes=3), ACCOUNT, VM, "nano"))
    lines.append(event("stopped", clock - timedelta(minutes=1), ACCOUNT, VM))
    for account in (ACCOUNT, "full"):
        lines.append(event("started", clock - timedelta(minutes=2), account, RUNNING, "pico"))
    return lines


def furnish(world: World) -> None:
    """Applies, meters, and closes last month."""
    world.tally("accounts", "apply", world.write("small.json", accounts()))
    world.tally("meter", "--file", world.write("small.ndjson", events()))
    world.tally("invoices", "close", "--period", last_period(), "--force")


def invoice_of(world: World, account: str) -> str:
    """The number of the account's invoice of last month."""
    listed = world.json("invoices", "list", "--period", last_period())
    return next(i["number"] for i in listed if i["account"] == account and "credits" not in i)
