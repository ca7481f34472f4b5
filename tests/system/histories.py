# SPDX-License-Identifier: Apache-2.0
"""Random accounts and VM histories, made to hit every rule of the contract and its edges.

Everything is drawn from one seeded generator, so that a seed names a history for ever.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from random import Random
from typing import Any

from oracle import DEFAULT_CATALOG
from oracle_decode import DAY, MINUTE, SECOND, midnight
from oracle_rate import days_of, next_period

HOUR = 60 * MINUTE
TIMEOUT = 600 * SECOND
SIZES = list(DEFAULT_CATALOG["versions"][0]["sizes"])
SOURCES = ["/orchestrator/eu-1", "/orchestrator/us-2", "/é", "/\uff5a", "/\U0001f600"]
KINDS = ["started", "resized", "heartbeat", "hibernated", "stopped"]


@dataclass
class World:
    """Accounts, a catalogue, the lines in the order in which they arrive, and what to bill."""

    accounts: dict[str, Any]
    catalog: dict[str, Any]
    lines: list[bytes]
    periods: list[str]
    as_of: int

    @property
    def ids(self) -> list[str]:
        return [account["id"] for account in self.accounts["accounts"]]


def world(random: Random, period: str, count: int, catalog: dict[str, Any], bad=True) -> World:
    """`count` accounts with histories around two periods, and lines that cannot be metered."""
    periods = [period, next_period(period)]
    start = midnight(days_of(period)[0]) - 3 * DAY
    end = midnight(days_of(next_period(periods[1]))[0]) + 2 * DAY
    as_of = end + random.randrange(DAY)
    accounts = [account(random, f"acct-{n:04}", periods) for n in range(count)]
    lines: list[bytes] = []
    edges = edges_between(start, end, catalog)
    for customer in accounts:
        for n in range(random.choice([1, 1, 2, 3])):
            lines += Vm(random, customer["id"], f"vm-{n}", start, end, edges).lines()
    if bad:
        lines += bad_lines(random, accounts[0]["id"], as_of)
    return World({"accounts": accounts}, catalog, disordered(random, lines), periods, as_of)


def edges_between(start: int, end: int, catalog: dict[str, Any]) -> list[int]:
    """The midnights at which a month or a version of the catalogue begins."""
    versions = {version["from"] for version in catalog["versions"]}
    return [
        midnight
        for midnight in range(start, end, DAY)
        if utc(midnight).day == 1 or utc(midnight).date().isoformat() in versions
    ]


def disordered(random: Random, lines: list[bytes]) -> list[bytes]:
    """Most lines a little out of order, some far; all accounts among each other."""
    places = []
    for line in lines:
        place = random.random()
        if random.random() < 0.1:
            place = random.choice([place / 10, 0.9 + place / 10])
        places.append((place, line))
    return [line for _, line in sorted(places, key=lambda pair: pair[0])]


# ---- time ----


def utc(instant: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=instant)


def iso(instant: int) -> str:
    return utc(instant).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def any_form(random: Random, instant: int) -> str:
    """One of the many texts of an instant: any offset, any number of digits, `:60`."""
    leap = instant % MINUTE == 0 and random.random() < 0.3
    if leap:
        instant -= SECOND
    offset = random.choice([0, 0, 0, 60, 120, -300, 330, 345, -570, 840, -720, 1439, -1439])
    text = (utc(instant) + timedelta(minutes=offset)).strftime("%Y-%m-%dT%H:%M:%S")
    if leap:
        text = text[:-2] + "60"
    digits = f"{instant % SECOND:06}".rstrip("0")
    digits += "0" * random.choice([0, 0, 0, 1, 6 - len(digits)])
    if len(digits) >= 6:
        digits = digits[:6] + random.choice(["", "", "9", "999", "123456"])
    text += f".{digits}" if digits else ""
    if offset == 0 and random.random() < 0.9:
        return text + random.choice("ZZZz")
    sign = "-" if offset < 0 else "+"
    return f"{text}{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"


# ---- one VM ----


@dataclass(frozen=True)
class Draft:
    """An event before it is written down; it may be written in several ways."""

    account: str
    vm: str
    source: str
    id: str
    kind: str
    time: int
    sequence: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


def gap(random: Random) -> int:
    """How long until the next event: often at an edge of some rule."""
    edge = random.choice([-1, 0, 0, 1])
    return random.choices(
        [
            0,
            1,
            random.randrange(SECOND),
            random.randrange(MINUTE),
            MINUTE * random.randrange(1, 5) + edge,
            TIMEOUT + edge,
            random.randrange(2 * TIMEOUT),
            random.randrange(3 * HOUR),
            random.randrange(30 * HOUR),
        ],
        weights=[16, 4, 5, 16, 15, 18, 16, 9, 1],
    )[0]


class Vm:
    """Draws one VM's events. The habits differ by VM, so that each rule also meets pure cases."""

    def __init__(
        self, random: Random, account: str, vm: str, start: int, end: int, edges: list[int]
    ) -> None:
        self.random, self.account, self.vm = random, account, vm
        self.start, self.end, self.edges = start, end, edges
        self.sequences = random.choice(["none", "none", "all", "ties", "some"])
        self.names = random.choice(["none", "right", "right", "mixed", "mixed"])
        self.watched = random.random() < 0.5
        self.sources = random.sample(SOURCES, random.choice([1, 1, 2, 3]))
        self.count = 0
        self.run: str | None = None
        self.drafts: list[Draft] = []

    def lines(self) -> list[bytes]:
        self._live()
        drafts = self.drafts + self._retractions()
        texts = [draft for draft in drafts for _ in range(1 + (self.random.random() < 0.15))]
        texts += [self._conflicting(d) for d in drafts if self.random.random() < 0.03]
        texts += self._known()
        return [text(self.random, draft) for draft in texts]

    def _live(self) -> None:
        time = self._somewhere()
        for _ in range(self.random.randrange(3, 28)):
            time += gap(self.random)
            if self.random.random() < 0.06:
                if self.random.random() < 0.9:  # else the run is a long one
                    self._stop(time)
                time = max(time + 1, self._somewhere())
            if time >= self.end:
                break
            self._event(self._kind(), time)
        if self.random.random() < 0.95:
            self._stop(time + gap(self.random))
            self._stop(time + DAY)  # the first may be retracted

    def _stop(self, time: int) -> None:
        """A stop without a name ends whatever runs: counting by minutes is slow enough."""
        self.drafts.append(self._draft("stopped", time, {}))

    def _somewhere(self) -> int:
        """Often just about a midnight; of these often one at which a month or prices change."""
        random = self.random
        time = random.randrange(self.start, self.end - 2 * DAY)
        if random.random() < 0.5:
            time = random.choice(self.edges + [time // DAY * DAY])
            time += random.choice([-1, 0, 1]) * random.choice(
                [0, 1, 1, 30 * SECOND, MINUTE - 1, MINUTE, TIMEOUT, random.randrange(HOUR)]
            )
        return time

    def _kind(self) -> str:
        weights = [30, 15, 40, 5, 10] if self.watched else [40, 30, 3, 8, 19]
        return self.random.choices(KINDS, weights)[0]

    def _event(self, kind: str, time: int) -> None:
        random = self.random
        data: dict[str, Any] = {}
        if kind == "started":
            bootup = random.choice([None, "FORK", "CLEAN", "RESUME", "RUNNING", "RUNNING"])
            data |= {"bootup": bootup} if bootup else {}
            if self.names != "none" and (bootup != "RUNNING" or random.random() < 0.3):
                self.run = f"r-{random.randrange(1, 9)}"
        data |= size(random) if kind in ("started", "resized") else {}
        name = self._name()
        data |= {"run": name} if name else {}
        if kind in ("hibernated", "stopped") and random.random() < 0.3:
            data["reason"] = random.choice(["requested", "", "évicted"])
        self.drafts.append(self._draft(kind, time, data))

    def _name(self) -> str | None:
        if self.names == "mixed" and self.random.random() < 0.4:
            return self.random.choice([None, "r-1", "r-2"])
        return None if self.names == "none" else self.run

    def _draft(self, kind: str, time: int, data: dict[str, Any]) -> Draft:
        self.count += 1
        source = self.random.choice(self.sources)
        # Ids repeat across sources and VMs: only together they identify.
        identity = f"e{self.count // len(self.sources)}" if len(self.sources) > 1 else None
        while identity is None or any(
            (d.source, d.id) == (source, identity) for d in self.drafts
        ):
            identity = f"e{self.count}-{self.random.randrange(1000)}"
        return Draft(self.account, self.vm, source, identity, kind, time, self._sequence(), data)

    def _sequence(self) -> str | None:
        random = self.random
        if self.sequences == "none" or (self.sequences == "some" and random.random() < 0.4):
            return None
        if self.sequences == "all" and random.random() < 0.7:
            return f"{self.count:010}"
        return random.choice(["1", "2", "10", "é", "Z", "a"])

    def _retractions(self) -> list[Draft]:
        random = self.random
        if random.random() < 0.6:
            return []
        retractions: list[Draft] = []
        for n in range(random.randrange(1, 4)):
            target = random.choice(self.drafts + retractions)
            source, identity = target.source, target.id
            if random.random() < 0.2:
                identity = "never-seen"
            data = {"source": source, "id": identity}
            time = random.choice([target.time, self._somewhere()])
            sequence = random.choice([None, "1"])
            retractions.append(
                Draft(self.account, self.vm, self.sources[0], f"u{n}", "retracted", time,
                      sequence, data)
            )
        return retractions

    def _conflicting(self, draft: Draft) -> Draft:
        random = self.random
        if draft.kind == "retracted" or random.random() < 0.5:
            return replace(draft, time=draft.time + random.choice([-1, 1, HOUR]))
        if random.random() < 0.3:
            return replace(draft, sequence="other")
        if draft.kind == "started":
            other = random.choice([s for s in SIZES if s != draft.data.get("size")])
            return replace(draft, data=draft.data | {"size": other})
        return replace(draft, data=draft.data | {"run": "r-other"})

    def _known(self) -> list[Draft]:
        """Events that are not metered; at the instant of others, and without a sequence."""
        random = self.random
        if random.random() < 0.7:
            return []
        kind = random.choice(["created", "deleted", "forked", "snapshotted"])
        time = random.choice(self.drafts).time
        data = random.choice([{}, {"size": 7}, {"anything": [1, {"a": None}]}])
        return [Draft(self.account, self.vm, "/known", "k", kind, time, None, data)]


def size(random: Random) -> dict[str, Any]:
    """A size by name in any case, or the resources that some size holds, or both."""
    name = random.choice(SIZES)
    if random.random() < 0.8:
        return {"size": random.choice([name, name, name.upper(), name.capitalize()])}
    shape = DEFAULT_CATALOG["versions"][0]["sizes"][name]
    resources = {
        "millicpu": 250 * random.randrange(1, shape["vcpus"] * 4 + 1),
        "memory_bytes": shape["memory_gib"] * 2**30 - random.choice([0, 1, 2**29]),
    }
    return resources | ({"size": name} if random.random() < 0.2 else {})


def text(random: Random, draft: Draft) -> bytes:
    """One way to write an event down; what it says stays the same."""
    data = {"account": draft.account} | draft.data
    if "size" in data and isinstance(data["size"], str) and random.random() < 0.1:
        data["size"] = data["size"].swapcase()
    fields: dict[str, Any] = {
        "specversion": "1.0",
        "id": draft.id,
        "source": draft.source,
        "type": random.choice(["", "", "", "com.example.", "vm.", "ä b."])
        + f"vm.{draft.kind}"
        + random.choice(["", "", "", ".v1", ".v20"]),
        "subject": draft.vm,
        "time": any_form(random, draft.time),
        "data": data,
    }
    if draft.sequence is not None:
        fields["sequence"] = draft.sequence
    if random.random() < 0.1:
        fields |= {"extra": nested(random.choice([1, 5, 31])), "datacontenttype": None}
    if random.random() < 0.1 and "sequence" not in fields:
        fields["sequence"] = None
    if random.random() < 0.1:
        data |= {"also": 1e99, "run": data.get("run")}
    names = list(fields)
    random.shuffle(names)
    spaced = random.random() < 0.1
    return json.dumps(
        {name: fields[name] for name in names},
        ensure_ascii=random.random() < 0.5,
        separators=(" , ", " : ") if spaced else (",", ":"),
    ).encode()


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# ---- what cannot be metered ----


def bad_lines(random: Random, account: str, as_of: int) -> list[bytes]:
    """Each reason in many ways, and twins of them that are just good."""
    lines = malformed(account)
    lines.append(varied(account, "end", ["type"], "vm.stopped").replace(b"T10:", b"T11:"))
    for n, (path, value) in enumerate(INVALID):
        lines.append(varied(account, f"i{n}", path, value))
    for n, type_ in enumerate(["vm.exploded", "vm.Started", "vm.started.v", "vm.started.1"]):
        lines.append(varied(account, f"t{n}", ["type"], type_))
    lines.append(varied("nobody", "a1"))
    lines.append(varied("nobody", "a2", ["data", "size"], "giant"))  # the first reason counts
    lines.append(varied(account, "s1", ["data", "size"], "giant"))
    lines.append(varied(account, "s2", ["data"], {"account": account, **TOO_LARGE}))
    future = as_of + 5 * MINUTE
    lines.append(varied(account, "f1", ["time"], iso(future)))
    lines.append(varied(account, "f2", ["time"], iso(future + 1)))
    lines.append(varied(account, "f3", ["time"], "2199-12-31T23:59:59Z"))
    random.shuffle(lines)
    return lines


TOO_LARGE = {"millicpu": 250, "memory_bytes": 129 * 2**30}

INVALID: list[tuple[list[str], Any]] = [
    *[([name], None) for name in ("specversion", "id", "source", "type", "subject", "time")],
    *[([name], 7) for name in ("specversion", "id", "source", "type", "subject", "time")],
    *[([name], "") for name in ("id", "source", "subject", "time", "sequence")],
    (["specversion"], "0.3"),
    (["sequence"], 12),
    (["subject"], "with space"),
    (["subject"], "x" * 65),
    (["subject"], "é"),
    (["data"], None),
    (["data"], []),
    (["data"], "text"),
    (["data", "account"], None),
    (["data", "account"], 5),
    (["data", "account"], "a/b"),
    (["data", "account"], "y" * 65),
    (["data", "size"], None),
    (["data", "size"], 5),
    (["data", "run"], ""),
    (["data", "run"], 5),
    (["data", "reservation"], ""),
    (["data", "reservation"], ["5"]),
    (["data", "bootup"], "fork"),
    (["data", "bootup"], "WARM"),
    (["data", "bootup"], True),
    (["time"], "2026-10-03"),
    (["time"], "2026-10-03T10:00Z"),
    (["time"], "2026-10-03T10:00:00"),
    (["time"], "2026-10-03T10:00:00+0100"),
    (["time"], "2026-02-29T10:00:00Z"),
    (["time"], "2026-13-01T10:00:00Z"),
    (["time"], "2026-10-03T24:00:00Z"),
    (["time"], "2026-10-03T10:60:00Z"),
    (["time"], "2026-10-03T10:00:61Z"),
    (["time"], "2026-10-03T10:00:00.Z"),
    (["time"], "2026-10-03T10:00:00+24:00"),
    (["time"], " 2026-10-03T10:00:00Z"),
    (["time"], "1999-12-31T23:59:59Z"),
    (["time"], "2200-01-01T00:00:00Z"),
    (["time"], "٢٠٢٦-10-03T10:00:00Z"),
]


def varied(account: str, identity: str, path: list[str] = [], value: Any = None) -> bytes:
    """A good start, but for one member. `identity` makes the line one of its kind."""
    fields: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"bad-{identity}",
        "source": "/bad",
        "type": "vm.started",
        "subject": "vm-bad",
        "time": "2025-03-03T10:00:00Z",  # before all that histories are about
        "data": {"account": account, "size": "nano"},
    }
    place = fields
    for name in path[:-1]:
        place = place[name]
    if path:
        place[path[-1]] = value
    return json.dumps(fields | {"line": identity}, ensure_ascii=False).encode()


def malformed(account: str) -> list[bytes]:
    good = varied(account, "malformed")
    inner = good[:-1]
    padding = b" " * (64 * 1024 - len(good))
    lines = [
        b"not JSON",
        b"[]",
        b"7",
        b'"text"',
        b"null",
        b"{}}",
        good[:-1],
        good + b",",
        good + good,
        good[:-1] + b",}",
        good.replace(b'"', b"'"),
        inner + b',"x":NaN}',
        inner + b',"x":Infinity}',
        inner + b',"x":01}',
        inner + b',"x":.5}',
        inner + b',"x":1.}',
        inner + b',"x":+1}',
        inner + b',"x":True}',
        inner + b',"x":"a\tb"}',
        inner + b',"x":"\\x41"}',
        inner + b',"x":"\\u12"}',
        inner + b',"x":/* */1}',
        inner + b',"x":' + b"[" * 32 + b"]" * 32 + b"}",
        inner + b',"x":' + b'{"y":' * 999 + b"1" + b"}" * 1000,
        inner + b"}" + padding + b" ",
        inner + b',"x":"\xff"}',
        inner + b',"x":"\xc0\xaf"}',
        inner + b',"x":"\xed\xa0\x80"}',
        inner + b',"x":"\xf4\x90\x80\x80"}',
        inner + b',"x":"\xe2\x82"}',
        b"\xef\xbb\xbf" + good,
        inner + b',"x":"\0"}',
        inner + b',"x":"\\u0000"}',
        inner + b',"\\u0000":1}',
        inner + b',"x":"\\ud800"}',
        inner + b',"x":"\\udc00\\ud800"}',
        inner + b',"x":"\\ud800\\u0041"}',
        inner + b',"id":"again"}',
        inner + b',"x":{"y":1,"z":2,"y":1}}',
        inner + b',"x":[{"y":1,"\\u0079":1}]}',
    ]
    # The same rules from the good side: all of these are one and the same event.
    lines += [
        good,
        inner + b"}" + padding,
        inner + b',"x":' + b"[" * 31 + b"]" * 31 + b"}",
        inner + b',"x":"\\ud83d\\ude00"}',
        inner + b',"x":"\\\\u0000"}',
        inner + b',"x":[{"y":1},{"y":1}]}',
        inner + b',"x":-0.5e+99999}',
        inner + b',"x":123456789012345678901234567890}',
        b" \t" + inner + b" }\r",
    ]
    return lines


# ---- accounts ----


def account(random: Random, identity: str, periods: list[str]) -> dict[str, Any]:
    days = [periods[0] + "-01", periods[1] + "-01", next_period(periods[1]) + "-01"]
    first = date.fromisoformat(days[0])
    whole = (date.fromisoformat(days[2]) - first).days

    def day(low: int, high: int) -> str:
        return (first + timedelta(days=random.randint(low, high))).isoformat()

    dates = {day(-40, random.choice([0, 20, 20, 50]))}
    while random.random() < 0.45:
        dates.add(random.choice([day(0, whole + 5), random.choice(days)]))
    document: dict[str, Any] = {
        "id": identity,
        "name": random.choice(["Acme", "=1+1", 'Beta "&" <Söhne>', "株式会社", "-"]),
        "subscriptions": subscriptions(random, sorted(dates)),
    }
    if random.random() < 0.7:
        document["grants"] = [
            grant(random, n, day) for n in range(random.choice([0, 1, 1, 2, 3, 5]))
        ]
    if random.random() < 0.5:
        document["tax_rate_bps"] = random.choice([0, 1, 700, 1900, 2550])
    if random.random() < 0.2:
        document |= {"spend_limit": "2000.00", "suspended": random.random() < 0.5}
    return document


def subscriptions(random: Random, dates: list[str]) -> list[dict[str, Any]]:
    subscribed: list[dict[str, Any]] = []
    for start in dates:
        if subscribed and subscribed[-1]["plan"] and random.random() < 0.25:
            subscribed.append({"plan": None, "from": start})
            continue
        plan = random.choice(["build", "pro", "scale", "enterprise"])
        subscription: dict[str, Any] = {"plan": plan, "from": start}
        if random.random() < 0.4:
            subscription["overrides"] = overrides(random)
        subscribed.append(subscription)
    return subscribed


def overrides(random: Random) -> dict[str, Any]:
    terms: dict[str, Any] = {
        "base_fee": random.choice(["0.00", "99.99", "0.01", "1000"]),
        "included_credits": random.choice([0, 1, 7, 500, 5000]),
        "credit_discount_bps": random.choice([0, 1, 1250, 1500, 10000]),
        "monthly_minimum": random.choice(["0.00", "400.00", "33.33", "5"]),
        "concurrency_limit": random.choice([None, 1000]),
        "max_session_minutes": random.choice([None, 60]),
        "overage": random.choice(["bill", "deny"]),
        "signup_credit": random.choice(["0.00", "12.34"]),
    }
    return {name: terms[name] for name in random.sample(list(terms), random.randrange(1, 5))}


def grant(random: Random, number: int, day) -> dict[str, Any]:
    unit = random.choice(["credit", "usd"])
    amounts = {"credit": ["0.05", "12.5", "300", "3097"], "usd": ["0.01", "10.05", "25.5", "300"]}
    start = day(-20, 55)
    document: dict[str, Any] = {
        "id": f"g{number}",
        "unit": unit,
        "amount": random.choice(amounts[unit]),
        "from": start,
    }
    if random.random() < 0.6:
        length = random.choice([1, 1, 5, 20, 60])
        document["expires"] = (date.fromisoformat(start) + timedelta(days=length)).isoformat()
    if random.random() < 0.5:
        document["priority"] = random.choice([0, 1, 2, 100, 101])
    return document


# ---- another catalogue ----


def other_catalog() -> dict[str, Any]:
    """Rates, timeouts and capacities that change within months, and sizes of one rate."""
    catalog = json.loads(json.dumps(DEFAULT_CATALOG))
    first, second = catalog["versions"]
    rates = [(first, 3, 600), (second, 7, 300)]
    for start in ("2026-09-17", "2027-12-31", "2028-02-29"):
        version = json.loads(json.dumps(second)) | {"from": start, "credit_price": "0.0203"}
        catalog["versions"].append(version)
        rates.append((version, int(start[-2:]), 900 if start < "2028" else 61))
    for version, step, timeout in rates:
        version["heartbeat_timeout_seconds"] = timeout
        for n, shape in enumerate(version["sizes"].values()):
            shape["credits_per_hour"] = 10 + (n * step) % 5 * 10  # several sizes of one rate
    return catalog
