# SPDX-License-Identifier: Apache-2.0
"""Asking before a start: what is answered, and how slots follow events, time and the accounts."""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from billing import apply
from harness import World, expect, expect_same, test, until
from histories import iso
from oracle import DEFAULT_CATALOG
from oracle_decode import MINUTE, SECOND
from orchestrator import event, instant, now, recount
from run import patience
from serving import Client, Reply, serve

HOUR = 60 * MINUTE
KNOWN = ["id", "account", "vm", "size", "state", "reserved_at", "expires_at", "limit", "in_use"]
KNOWN += ["available", "max_session_minutes", "credits_run_out_at"]


def times(reservation: int, delay: int, skew: int | None = None) -> list[Any]:
    """How long things live, in seconds."""
    options = ["--reservation-seconds", reservation, "--event-delay-seconds", delay]
    return options + ([] if skew is None else ["--clock-skew-seconds", skew])


def day(days: int) -> str:
    """A date, so many days from today."""
    return (datetime.now(timezone.utc) + timedelta(days=days)).date().isoformat()


def customer(account: str, plan: str = "scale", since: int = -60, **more: Any) -> dict[str, Any]:
    """An account with one subscription. `limit` and other terms are its overrides."""
    overrides = {name: more.pop(name) for name in list(more) if name in TERMS}
    if "limit" in more:
        overrides["concurrency_limit"] = more.pop("limit")
    subscription: dict[str, Any] = {"plan": plan, "from": day(since)}
    if overrides:
        subscription["overrides"] = overrides
    return {"id": account, "name": account, "subscriptions": [subscription]} | more


TERMS = ("base_fee", "included_credits", "overage", "max_session_minutes")


def customers(world: World, *accounts: dict[str, Any]) -> None:
    apply(world, {"accounts": list(accounts)})


def meter(world: World, *lines: bytes) -> None:
    world.tally("meter", "--file", world.write("events.ndjson", list(lines)))


def answered(reply: Reply, status: int, problem: str = "") -> Any:
    """The body of an answer that must be this one."""
    expect((reply.status, reply.problem) == (status, problem),
           f"expected {status} {problem}, got {reply}")
    if problem:
        body = reply.json
        expect_same(status, body.get("status"), f"the problem's member status: {reply}")
        expect(body.get("title") and body.get("detail"), f"a problem says what it is: {reply}")
    return reply.json if reply.body else None


def counts(client: Client, account: str) -> tuple[int, int]:
    """Running and reserved; that the other members agree is checked on the way."""
    quota = client.quota(account)
    running, reserved, limit = quota["running"], quota["reserved"], quota["limit"]
    expect_same(running + reserved, quota["in_use"], f"slots in use: {quota}")
    free = None if limit is None else max(0, limit - quota["in_use"])
    expect_same(free, quota["available"], f"available slots: {quota}")
    expect_same(quota["can_start"], not quota["reasons"], f"can_start: {quota}")
    expect_same(free == 0, "concurrency-limit" in quota["reasons"], f"reasons: {quota}")
    return running, reserved


# ---- answers ----


@test("a reservation has its members: of a new one, a renewed one, and one that is shown")
def quota_reserved(world: World) -> None:
    customers(world, customer("acme"), customer("pro", "pro"), customer("free", limit=None))
    with serve(world) as server:
        client = server.client("orchestrator")
        before = now()
        reply = client.reserve("acme", "vm-1")
        made = answered(reply, 201)
        expect_same(KNOWN, list(made), "members of a reservation")
        fixed = {"account": "acme", "vm": "vm-1", "size": "nano", "state": "reserved", "limit": 250,
                 "in_use": 1, "available": 249, "max_session_minutes": None,
                 "credits_run_out_at": None}
        expect_same(made | fixed, made, "the reservation")
        at, end = instant(made["reserved_at"]), instant(made["expires_at"])
        expect(before - SECOND <= at <= now() + SECOND, f"reserved now: {made}")
        expect_same(60 * SECOND, end - at, "how long it lives")
        again = answered(client.reserve("acme", "vm-1", "small"), 200)
        expect(again["id"] != made["id"], "a renewal has an id of its own")
        expect_same(("small", 1), (again["size"], again["in_use"]), "size and slots after renewal")
        expect(instant(again["expires_at"]) > end, f"renewed: {again}")
        expect_same(again, answered(client.reservation("acme", "vm-1"), 200), "as shown")
        answered(client.reserve("acme", "vm-2"), 201)
        expect_same(2, answered(client.reservation("acme", "vm-1"), 200)["in_use"], "slots")
        expect_same((0, 2), counts(client, "acme"), "running and reserved")
        minutes = answered(client.reserve("pro", "x"), 201)["max_session_minutes"]
        expect_same(1440, minutes, "max_session_minutes")
        free = answered(client.reserve("free", "x"), 201)
        expect_same((None, 1, None), (free["limit"], free["in_use"], free["available"]), "no limit")
        expect_same((0, 1), counts(client, "free"), "running and reserved")
    recount(world)


@test("a size by name in any case, or by resources; where both are given, the name wins")
def quota_sizes(world: World) -> None:
    customers(world, customer("acme"))
    gib = 2**30
    rows: list[tuple[dict[str, Any], str]] = [
        ({"size": "XLarge"}, "xlarge"),
        ({"millicpu": 250, "memory_bytes": 1}, "pico"),
        ({"millicpu": 2000, "memory_bytes": gib}, "pico"),
        ({"millicpu": 2000, "memory_bytes": gib + 1}, "nano"),
        ({"millicpu": 2250, "memory_bytes": 1}, "micro"),
        ({"millicpu": 64000, "memory_bytes": 128 * gib}, "xlarge"),
        ({"size": "pico", "millicpu": 64000, "memory_bytes": gib}, "pico"),
    ]
    with serve(world) as server:
        client = server.client("orchestrator")
        for n, (asked, size) in enumerate(rows):
            body = {"account": "acme", "vm": f"vm-{n}"} | asked
            reply = client.post("/v1/quota/reservations", body)
            expect_same(size, answered(reply, 201)["size"], f"size of {asked}")


@test("a bad body is 400, and the field is named; nothing is reserved by it")
def quota_bad(world: World) -> None:
    customers(world, customer("acme"))
    good = {"account": "acme", "vm": "vm-1", "size": "nano"}
    resources = {"millicpu": 250, "memory_bytes": 1, "size": None}
    rows: list[tuple[dict[str, Any], str]] = [
        ({"account": None}, "account"),
        ({"account": 7}, "account"),
        ({"account": "with space"}, "account"),
        ({"vm": None}, "vm"),
        ({"vm": ""}, "vm"),
        ({"vm": "x" * 65}, "vm"),
        ({"vm": "ü"}, "vm"),
        ({"size": None}, "size"),
        ({"size": 3}, "size"),
        ({"size": "giant"}, "size"),
        ({"size": ""}, "size"),
        (resources | {"millicpu": None}, "millicpu"),
        (resources | {"millicpu": 251}, "millicpu"),
        (resources | {"millicpu": 0}, "millicpu"),
        (resources | {"millicpu": 250.5}, "millicpu"),
        (resources | {"memory_bytes": None}, "memory_bytes"),
        (resources | {"memory_bytes": -1}, "memory_bytes"),
        (resources | {"memory_bytes": "1"}, "memory_bytes"),
        (resources | {"memory_bytes": 2**40}, "size"),
    ]
    with serve(world) as server:
        client = server.client("orchestrator")
        for changed, field in rows:
            reply = client.post("/v1/quota/reservations", good | changed)
            problem = answered(reply, 400, "bad-request")
            expect(field in problem["detail"], f"{changed}: it should name {field}: {reply}")
        for text in ("", "{", "[]", "null", '{"account":"acme","account":"acme"}', '"x"', "{} {}"):
            answered(client.post("/v1/quota/reservations", text), 400, "bad-request")
        answered(client.reserve("nobody", "vm-1"), 404, "not-found")
        answered(client.reservation("nobody", "vm-1"), 404, "not-found")
        answered(client.release("nobody", "vm-1"), 404, "not-found")
        answered(client.get("/v1/accounts/nobody/quota"), 404, "not-found")
        answered(client.delete("/v1/quota/reservations/acme/v", query={"stopped": "maybe"}), 400,
                 "bad-request")
        expect_same((0, 0), counts(client, "acme"), "running and reserved")
    recount(world)


@test("suspended and ended accounts, and those that have not begun, may start nothing")
def quota_not_allowed(world: World) -> None:
    ended = customer("ended")
    ended["subscriptions"].append({"plan": None, "from": day(0)})
    ends = customer("ends")
    ends["subscriptions"].append({"plan": None, "from": day(2)})
    customers(
        world,
        *(customer("suspended", suspended=True), customer("later", since=2), ended, ends),
        customer("both", since=2, suspended=True),
    )
    with serve(world) as server:
        client = server.client("orchestrator")
        for account, problem in [("suspended", "suspended"), ("later", "no-plan"),
                                 ("ended", "no-plan"), ("both", "suspended")]:
            answered(client.reserve(account, "vm"), 403, problem)
            quota = client.quota(account)
            expect(problem in quota["reasons"] and not quota["can_start"], f"reasons: {quota}")
        expect_same(None, client.quota("later")["plan"], "plan before the first subscription")
        answered(client.reserve("ends", "vm"), 201)
        expect_same("scale", client.quota("ends")["plan"], "plan in force")
        # What is changed meanwhile counts from the next answer on.
        customers(world, customer("ends", suspended=True), customer("suspended"))
        answered(client.reserve("ends", "other"), 403, "suspended")
        answered(client.reserve("suspended", "vm"), 201)


@test("at the limit: 429 with limit, slots in use and Retry-After; who has a slot keeps it")
def quota_limit(world: World) -> None:
    customers(world, customer("acme", limit=2), customer("none", limit=0))
    with serve(world) as server:
        client = server.client("orchestrator")
        for vm in ("a", "b"):
            answered(client.reserve("acme", vm), 201)
        for _ in range(2):
            reply = client.reserve("acme", "c")
            problem = answered(reply, 429, "concurrency-limit")
            expect_same((2, 2), (problem["limit"], problem["in_use"]), "limit and slots in use")
            expect(int(reply.headers.get("retry-after", 0)) > 0, f"Retry-After: {reply}")
        answered(client.reserve("acme", "a"), 200)
        expect_same((0, 2), counts(client, "acme"), "running and reserved")
        answered(client.release("acme", "b"), 204)
        answered(client.reserve("acme", "c"), 201)
        answered(client.reserve("none", "a"), 429, "concurrency-limit")
    recount(world)


@test("where overage is denied, used up credits deny starts, until there are more", seconds=90)
def quota_credits(world: World) -> None:
    customers(world, customer("acme", "build", since=-3))
    with serve(world) as server:
        client = server.client("orchestrator")
        first = answered(client.reserve("acme", "vm"), 201)
        expect_same(None, first["credits_run_out_at"], "nothing burns yet")
        # 100.00 at 0.01486 are 6,729.4751 credits: 21 hours of an xlarge, and 0.4751 of 10 minutes.
        began = now() - 30 * HOUR
        run = {"size": "xlarge", "run": "r"}
        meter(world, event("started", "acme", "old", began, **run))
        quota = client.quota("acme")
        left = quota["credits"]
        expect_same("0.0000", left["remaining"], f"credits left after 30 hours: {quota}")
        answered(client.reserve("acme", "other"), 402, "credits-exhausted")
        expect("credits-exhausted" in quota["reasons"], f"reasons: {quota}")
        # As it turns out, it ran for 20 hours only.
        meter(world, event("stopped", "acme", "old", began + 20 * HOUR, run="r"))
        answered(client.reserve("acme", "other"), 201)
        # They cost 95.10, or a cent more or less where they fall into two months.
        left = Decimal(client.quota("acme")["credits"]["remaining"])
        expect(328 < left < 331, f"after 6,400 credits {left} are left")
        # At 320 an hour, they last an hour and about 110 s.
        meter(world, event("started", "acme", "new", now(), size="xlarge"))
        reserved = answered(client.reserve("acme", "third"), 201)
        lasts = instant(reserved["credits_run_out_at"]) - now()
        expect(55 * MINUTE < lasts < 63 * MINUTE, f"when credits run out: {reserved}")
        burn = client.quota("acme")["credits"]["per_hour_now"]
        expect_same(Decimal(320), Decimal(burn), "credits per hour now")
        meter(world, event("started", "acme", "newer", now() - 5 * HOUR, size="xlarge"))
        answered(client.reserve("acme", "fourth"), 402, "credits-exhausted")
        more = {"id": "more", "unit": "credit", "amount": "10000", "from": day(-1)}
        customers(world, customer("acme", "build", since=-3, grants=[more]))
        answered(client.reserve("acme", "fourth"), 201)
        customers(world, customer("acme", "build", since=-3))
        answered(client.reserve("acme", "fourth"), 402, "credits-exhausted")
        # The same account on a plan that bills has the same figures, and starts.
        customers(world, customer("acme", "scale", since=-3))
        expect(client.quota("acme")["can_start"], "bill plans start whatever is used")


@test("a spend limit denies starts from the cent on at which it is reached", seconds=90)
def quota_spend(world: World) -> None:
    customers(
        world,
        customer("reached", spend_limit="170.00"),
        customer("cent", spend_limit="170.01"),
        customer("rises", spend_limit="200.00", included_credits=0),
    )
    with serve(world) as server:
        client = server.client("orchestrator")
        answered(client.reserve("reached", "vm"), 402, "spend-limit")
        expect("spend-limit" in client.quota("reached")["reasons"], "reasons")
        answered(client.reserve("cent", "vm"), 201)
        answered(client.reserve("rises", "vm"), 201)
        # 30.00 are 2,018.9 credits. So many xlarge since the month began, or for an hour.
        today = now()
        month = datetime.now(timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        minutes = min(60, (today - round(month.timestamp()) * SECOND) // MINUTE - 1)
        if minutes < 1:
            return  # the month has just begun
        vms = 2019 * 60 // (320 * minutes) + 1
        began, ended = today - (minutes + 1) * MINUTE, today - MINUTE
        lines = [event("started", "rises", f"x{n}", began, size="xlarge") for n in range(vms)]
        lines += [event("stopped", "rises", f"x{n}", ended) for n in range(vms)]
        meter(world, *lines)
        answered(client.reserve("rises", "other"), 402, "spend-limit")
        customers(world, customer("rises", spend_limit="20000.00", included_credits=0))
        answered(client.reserve("rises", "other"), 201)


@test("without PostgreSQL: 503 within the deadline, and nothing was reserved; then it goes on",
      seconds=120)
def quota_unavailable(world: World) -> None:
    world.own_postgres()
    customers(world, customer("acme", limit=1))
    with serve(world) as server:
        client = server.client("orchestrator")
        answered(client.reserve("acme", "before"), 201)
        answered(client.release("acme", "before"), 204)
        world.postgres.stop(signal.SIGINT)
        for _ in range(3):
            began = time.monotonic()
            reply = client.reserve("acme", "vm")
            took = time.monotonic() - began
            answered(reply, 503, "unavailable")
            expect(int(reply.headers.get("retry-after", 0)) > 0, f"Retry-After: {reply}")
            expect(took < 8 * patience(), f"503 took {took:.1f} s")
        expect_same(200, client.get("/healthz").status, "alive")
        until(lambda: client.get("/readyz").status == 503, "/readyz says 503", 20)
        world.postgres.start()
        until(lambda: client.get("/readyz").status == 200, "/readyz says 200", 20)
        until(lambda: client.reserve("acme", "other").status == 201, "it goes on", 20)
    recount(world)


# ---- life ----


def lived(client: Client, account: str, vm: str) -> str | None:
    """The state of a VM's slot; None: it has none."""
    reply = client.reservation(account, vm)
    if reply.status == 404:
        return None
    answered(reply, 200)
    return reply.json["state"]


@test("a start uses up the reservation that it names, or, naming none, one that is not younger")
def quota_consumed(world: World) -> None:
    skew = 5 * SECOND
    rows: list[tuple[str, str | None, int, bool]] = [  # name, reservation, time, used up
        ("by-id", "its own", 0, True),
        ("by-id-old", "its own", -HOUR, True),
        ("other-id", "another", 0, False),
        ("by-time", None, 0, True),
        ("by-time-within-skew", None, -skew, True),
        ("older-than-skew", None, -skew - 1, False),
        ("long-before", None, -HOUR, False),
    ]
    customers(world, *(customer(name, limit=1) for name, *_ in rows))
    with serve(world) as server:
        client = server.client("orchestrator")
        starts, ends = [], []
        for name, whose, when, _ in rows:
            made = answered(client.reserve(name, "vm"), 201)
            at = instant(made["reserved_at"]) + when
            named = {"its own": made["id"], "another": "5f0c", None: None}[whose]
            starts.append(event("started", name, "vm", at, reservation=named))
            ends.append(event("stopped", name, "vm", at + 1))
        meter(world, *starts)
        for name, *_ in rows:
            expect_same("running", lived(client, name, "vm"), f"{name}: state")
            expect_same((1, 0), counts(client, name), f"{name}: running and reserved")
            answered(client.release(name, "vm"), 409, "conflict")
            answered(client.reserve(name, "other"), 429, "concurrency-limit")
        recount(world)
        meter(world, *ends)
        for name, _, _, used_up in rows:
            expect_same((0, 0 if used_up else 1), counts(client, name), f"{name}: after its end")
            answered(client.reserve(name, "other"), 201 if used_up else 429,
                     "" if used_up else "concurrency-limit")
        recount(world)
        meter(world, *starts, *ends)
        for name, *_ in rows:
            expect_same(1, sum(counts(client, name)), f"{name}: after a repeat")
    recount(world)


@test("a start that used an older reservation leaves the one by which it was renewed")
def quota_renewed(world: World) -> None:
    customers(world, customer("acme", limit=1), customer("late", limit=1))
    with serve(world, *times(60, 60, skew=0)) as server:
        client = server.client("orchestrator")
        # VM starts, hibernates and asks for a resume while nothing is metered yet.
        for account in ("acme", "late"):
            first = answered(client.reserve(account, "vm"), 201)
            started = instant(first["reserved_at"]) + 1
            second = answered(client.reserve(account, "vm"), 200)
            named = first["id"] if account == "acme" else None
            meter(world, event("started", account, "vm", started, reservation=named))
            expect_same((1, 0), counts(client, account), f"{account}: running")
            meter(world, event("hibernated", account, "vm", started + 1))
            expect_same((0, 1), counts(client, account), f"{account}: hibernated")
            answered(client.reserve(account, "other"), 429, "concurrency-limit")
            resumed = event("started", account, "vm", bootup="RESUME", reservation=second["id"])
            meter(world, resumed)
            expect_same((1, 0), counts(client, account), f"{account}: resumed")
            meter(world, event("stopped", account, "vm"))
            expect_same((0, 0), counts(client, account), f"{account}: stopped")
    recount(world)


@test("hibernate and resume in quick succession never free the slot, told in any order")
def quota_resume(world: World) -> None:
    orders = ["ask end resume", "end ask resume", "ask resume end"]
    orders += ["ask resume+end", "ask end+resume"]
    customers(world, *(customer(f"a{n}", limit=1) for n in range(len(orders))))
    with serve(world) as server:
        client = server.client("orchestrator")
        for n, order in enumerate(orders):
            account, began = f"a{n}", now()
            meter(world, event("started", account, "vm", began))
            reservation: dict[str, Any] = {}
            for step in order.split():
                lines = []
                for part in step.split("+"):
                    if part == "ask":
                        reservation = client.reserve(account, "vm").json
                    elif part == "end":
                        lines.append(event("hibernated", account, "vm", began + 1000))
                    else:
                        lines.append(event("started", account, "vm", began + 2000, bootup="RESUME",
                                           reservation=reservation["id"]))
                if lines:
                    meter(world, *lines)
                # Only where the end was told before anybody asked may another have the slot.
                if not order.startswith("end") or step != "end":
                    expect_same(1, sum(counts(client, account)), f"{order}: slots after {step}")
                    answered(client.reserve(account, "other"), 429, "concurrency-limit")
            expect_same((1, 0), counts(client, account), f"{order}: resumed")
            recount(world)
            meter(world, event("stopped", account, "vm"))
            expect_same((0, 0), counts(client, account), f"{order}: stopped")
    recount(world)


@test("a reservation is given back by DELETE; only the one that is named; never that of a run")
def quota_given_back(world: World) -> None:
    customers(world, customer("acme", limit=2))
    with serve(world) as server:
        client = server.client("orchestrator")
        answered(client.reservation("acme", "vm"), 404, "not-found")
        answered(client.release("acme", "vm"), 404, "not-found")
        answered(client.release("acme", "vm", reservation="x"), 404, "not-found")
        first = answered(client.reserve("acme", "vm"), 201)["id"]
        second = answered(client.reserve("acme", "vm"), 200)["id"]
        answered(client.release("acme", "vm", reservation=first), 409, "conflict")
        shown = answered(client.reservation("acme", "vm"), 200)
        expect_same(second, shown["id"], "the one that lives")
        answered(client.release("acme", "vm", reservation=second), 204)
        answered(client.release("acme", "vm", reservation=second), 404, "not-found")
        expect_same(None, lived(client, "acme", "vm"), "state")
        answered(client.reserve("acme", "vm"), 201)
        answered(client.release("acme", "vm"), 204)
        meter(world, event("started", "acme", "vm"))
        answered(client.release("acme", "vm"), 409, "conflict")
        expect_same("running", lived(client, "acme", "vm"), "state")
        # A VM whose id needs encoding in a path.
        answered(client.reserve("acme", "a:b._-"), 201)
        answered(client.delete("/v1/quota/reservations/acme/a%3Ab._-"), 204)
    recount(world)


@test("where the orchestrator vouches that a VM has stopped, its slot is free at once; where no end"
      " is metered by then, it counts again")
def quota_vouched(world: World) -> None:
    names = ("ends", "never", "again", "resumed", "reserved")
    customers(world, *(customer(name, limit=1) for name in names))
    with serve(world, *times(60, 4)) as server:
        client = server.client("orchestrator")
        began = now() - HOUR
        meter(world, *(event("started", name, "vm", began) for name in names[:4]))
        vouched: dict[str, float] = {}
        for name in names[:4]:
            answered(client.reserve(name, "other"), 429, "concurrency-limit")
            answered(client.release(name, "vm", stopped="true"), 204)
            vouched[name] = time.monotonic()
            expect_same((0, 0), counts(client, name), f"{name}: vouched")
            expect_same(None, lived(client, name, "vm"), f"{name}: state")
        answered(client.reserve("reserved", "vm"), 201)
        answered(client.release("reserved", "vm", stopped="true"), 204)
        for name in ("ends", "never"):
            answered(client.reserve(name, "other"), 201)
        # A retry is safe; the time runs from the last call that was answered 204.
        for name in ("again", "reserved"):
            retry = client.release(name, "vm", stopped="true")
            expect(retry.status in (204, 404), f"vouching once more: {retry}")
            vouched[name] = time.monotonic()
        meter(world, event("stopped", "ends", "vm"))
        resumed = answered(client.reserve("resumed", "vm"), 201)
        meter(world, event("stopped", "resumed", "vm"),
              event("started", "resumed", "vm", bootup="RESUME", reservation=resumed["id"]))
        expect_same((1, 0), counts(client, "resumed"), "resumed")
        recount(world)
        time.sleep(max(0, vouched["again"] + 4.5 - time.monotonic()))
        for name, expected in [("ends", (0, 1)), ("never", (1, 1)), ("again", (1, 0)),
                               ("resumed", (1, 0)), ("reserved", (0, 0))]:
            expect_same(expected, counts(client, name), f"{name}: when the time is over")
        problem = answered(client.reserve("never", "third"), 429, "concurrency-limit")
        expect_same((1, 2), (problem["limit"], problem["in_use"]), "more than the limit")
        recount(world)
        meter(world, event("stopped", "never", "vm"), event("stopped", "again", "vm"))
        expect_same((0, 1), counts(client, "never"), "ended")
        expect_same((0, 0), counts(client, "again"), "ended")
    recount(world)


@test("with files only, progress is the clock: a reservation lapses after the event delay")
def quota_expires(world: World) -> None:
    customers(world, customer("acme", limit=1))
    with serve(world, *times(1, 2)) as server:
        client = server.client("orchestrator")
        made = answered(client.reserve("acme", "vm"), 201)
        expect_same(SECOND, instant(made["expires_at"]) - instant(made["reserved_at"]), "its life")
        end = instant(made["expires_at"]) + 2 * SECOND
        denied = 0
        while (reply := client.reserve("acme", "other")).status == 429:
            denied += now() > instant(made["expires_at"])
            time.sleep(0.1)
        answered(reply, 201)
        # The clock is the database's, and the same as ours here.
        expect(end - SECOND // 10 < now() < end + 2 * SECOND, f"it ended at {iso(now())}: {made}")
        expect(denied > 3, "expired, it still holds the slot for the event delay")
        answered(client.reservation("acme", "vm"), 404, "not-found")
    recount(world)


@test("a VM whose proofs of life cease holds no slot; late and new ones bring it back", seconds=90)
def quota_lost(world: World) -> None:
    catalog = json.loads(json.dumps(DEFAULT_CATALOG))
    for version in catalog["versions"]:
        version["heartbeat_timeout_seconds"] = 4
    names = ("acme", "late", "bare")
    apply(world, {"accounts": [customer(name, limit=1) for name in names]}, catalog)
    with serve(world) as server:
        client = server.client("orchestrator")
        began = now()
        meter(world, *(event("started", name, "vm", began) for name in ("acme", "late", "bare")),
              *(event("heartbeat", name, "vm", began + 1) for name in ("acme", "late")))
        for name in ("acme", "late", "bare"):
            expect_same((1, 0), counts(client, name), f"{name}: under watch")
        lost = lambda: counts(client, "acme") == (0, 0)  # noqa: E731
        until(lost, "the VM is lost", 8)
        expect(now() > began + 4 * SECOND, "lost too early")
        expect_same((1, 0), counts(client, "bare"), "a run that is not under watch")
        expect_same((0, 0), counts(client, "late"), "the other one is lost too")
        answered(client.reserve("acme", "other"), 201)
        recount(world)
        # One goes on, of the other heartbeats were late: both run, over the limit or not.
        beats = range(began + SECOND, now(), SECOND)
        meter(world, event("heartbeat", "acme", "vm"),
              *(event("heartbeat", "late", "vm", at) for at in beats))
        expect_same((1, 1), counts(client, "acme"), "reopened")
        expect_same((1, 0), counts(client, "late"), "proved by late heartbeats")
        recount(world)
        until(lambda: counts(client, "late") == (0, 0), "it is lost again", 8)
        expect_same(None, lived(client, "late", "vm"), "state of a lost VM")
        meter(world, event("resized", "late", "vm", now(), size="small"))
        expect_same((1, 0), counts(client, "late"), "reopened by a change of size")
        meter(world, event("stopped", "late", "vm"), event("stopped", "acme", "vm"))
        expect_same((0, 0), counts(client, "late"), "stopped")
    recount(world)


@test("superseded, retracted and late events change what runs now, and the counts with it")
def quota_late_events(world: World) -> None:
    customers(world, customer("acme", limit=2))
    with serve(world) as server:
        client = server.client("orchestrator")
        at = now() - HOUR
        start = event("started", "acme", "vm", at, event_id="s1")
        undo = {"source": "/orchestrator"}
        steps: list[tuple[str, list[bytes], int]] = [
            ("start", [start], 1),
            ("superseded", [event("started", "acme", "vm", at + 60 * SECOND, event_id="s2")], 1),
            ("one start retracted", [event("retracted", "acme", "vm", at, id="s1", **undo)], 1),
            ("both", [event("retracted", "acme", "vm", at, id="s2", **undo)], 0),
            ("a late end of nothing", [event("stopped", "acme", "vm", at + 5, event_id="e1")], 0),
            ("a late start after it", [event("started", "acme", "vm", at + 6)], 1),
            ("a later end", [event("stopped", "acme", "vm", at + 7, event_id="e2")], 0),
            ("the end retracted", [event("retracted", "acme", "vm", at, id="e2", **undo)], 1),
            ("two in a batch", [event("stopped", "acme", "vm", at + 9),
                                event("started", "acme", "vm", at + 10),
                                event("started", "acme", "wm", at + 10)], 2),
            ("a third without asking", [event("started", "acme", "xm", at)], 3),
        ]
        for what, lines, running in steps:
            meter(world, *lines)
            expect_same((running, 0), counts(client, "acme"), f"running after: {what}")
            recount(world)
        quota = client.quota("acme")
        over = quota["limit"], quota["in_use"], quota["available"]
        expect_same((2, 3, 0), over, "limit, in use, available")
        answered(client.reserve("acme", "ym"), 429, "concurrency-limit")
        answered(client.reserve("acme", "xm"), 200)
