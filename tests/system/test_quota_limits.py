# SPDX-License-Identifier: Apache-2.0
"""Limits that change, VMs that do not ask, and quota at the command line."""

from __future__ import annotations

import json
from typing import Any

from billing import apply
from harness import World, expect, expect_same, test
from orchestrator import event, now, recount
from serving import at_once, serve
from test_quota import HOUR, answered, counts, customer, customers, day, lived, meter, times


@test("the limit is that of the subscription in force today, and of the catalogue's version")
def quota_plan_change(world: World) -> None:
    def account(name: str, *plans: tuple[str | None, int, int | None]) -> dict[str, Any]:
        subscriptions = [
            {"plan": plan, "from": day(since)}
            | ({"overrides": {"concurrency_limit": limit}} if limit is not None else {})
            for plan, since, limit in plans
        ]
        return {"id": name, "name": name, "subscriptions": subscriptions}

    rows = [
        (account("yesterday", ("scale", -9, 3), ("scale", -1, 4), ("scale", 1, 5)), 4),
        (account("today", ("scale", -9, 3), ("enterprise", 0, 6), ("scale", 1, 5)), 6),
        (account("tomorrow", ("scale", -9, 3), ("scale", 1, 5)), 3),
        (account("again", ("scale", -9, 3), (None, -5, None), ("pro", -2, None)), 100),
        (account("build", ("build", -9, None)), 10),
        (account("scale", ("scale", -9, None)), 250),
    ]
    customers(world, *(account for account, _ in rows))
    with serve(world) as server:
        client = server.client("orchestrator")
        for account, limit in rows:
            expect_same(limit, client.quota(account["id"])["limit"], f"limit of {account['id']}")
            made = answered(client.reserve(account["id"], "vm"), 201)
            expect_same((limit, limit - 1), (made["limit"], made["available"]), account["id"])


@test("a lowered limit stops nothing and denies what is new; a raised one counts at once")
def quota_limit_lowered(world: World) -> None:
    customers(world, customer("acme", limit=3))
    with serve(world) as server:
        client = server.client("orchestrator")
        for vm in ("a", "b", "c"):
            answered(client.reserve("acme", vm), 201)
        meter(world, event("started", "acme", "a"), event("started", "acme", "b"))
        customers(world, customer("acme", limit=1))
        problem = answered(client.reserve("acme", "d"), 429, "concurrency-limit")
        expect_same((1, 3), (problem["limit"], problem["in_use"]), "limit and slots in use")
        expect_same((2, 1), counts(client, "acme"), "nothing was stopped")
        for vm in ("a", "c"):
            answered(client.reserve("acme", vm), 200)
        meter(world, event("stopped", "acme", "b"))
        answered(client.reserve("acme", "b"), 429, "concurrency-limit")
        customers(world, customer("acme", limit=3))
        answered(client.reserve("acme", "d"), 201)
    recount(world)


@test("VMs that start without asking are counted, over the limit too")
def quota_unasked(world: World) -> None:
    customers(world, customer("acme", limit=1))
    with serve(world) as server:
        client = server.client("orchestrator")
        meter(world, *(event("started", "acme", f"vm-{n}") for n in range(3)))
        quota = client.quota("acme")
        members = ("limit", "running", "in_use", "available")
        expect_same([1, 3, 3, 0], [quota[member] for member in members], str(members))
        expect_same(["concurrency-limit"], quota["reasons"], "reasons")
        answered(client.reserve("acme", "other"), 429, "concurrency-limit")
        renewed = answered(client.reserve("acme", "vm-0"), 200)
        expect_same((3, 0), (renewed["in_use"], renewed["available"]), "of a VM that runs")
        meter(world, *(event("stopped", "acme", f"vm-{n}") for n in range(3)))
        expect_same((0, 1), counts(client, "acme"), "running and reserved")
    recount(world)


@test("200 at once for the last slots, against three servers: exactly so many are granted",
      seconds=120)
def quota_last_slots(world: World) -> None:
    customers(world, customer("acme", limit=40))
    servers = [serve(world) for _ in range(3)]
    try:
        client = servers[0].client("orchestrator")
        for n in range(39):
            answered(client.reserve("acme", f"taken-{n}"), 201)
        for last in (1, 7):
            clients = [servers[n % 3].client("orchestrator") for n in range(200)]
            replies = at_once([
                lambda n=n, c=c: c.reserve("acme", f"new-{last}-{n}") for n, c in enumerate(clients)
            ])
            granted = [reply.json["vm"] for reply in replies if reply.status == 201]
            others = {(reply.status, reply.problem) for reply in replies if reply.status != 201}
            expect_same({(429, "concurrency-limit")}, others, "the other answers")
            expect_same(last, len(granted), f"granted of the last {last}")
            expect_same((0, 40), counts(client, "acme"), "running and reserved")
            recount(world)
            for vm in granted + [f"taken-{n}" for n in range(6) if last == 1]:
                answered(client.release("acme", vm), 204)
            for made in clients:
                made.close()
        # And many for one and the same VM: one slot, by whoever came first.
        replies = at_once([lambda c=servers[n % 3].client("orchestrator"): c.reserve("acme", "same")
                           for n in range(50)])
        expect_same([200] * 49 + [201], sorted(reply.status for reply in replies), "for one VM")
        expect_same(50, len({reply.json["id"] for reply in replies}), "ids of renewals")
        lives = answered(client.reservation("acme", "same"), 200)["id"]
        expect(lives in {reply.json["id"] for reply in replies}, "the one that lives was answered")
        recount(world)
    finally:
        for server in servers:
            for made in server.clients:
                made.close()
            server.check()
            expect_same(0, server.stop(), f"exit of tally serve\n{server.end()}")


# ---- the command line ----


@test("quota show is the route's answer; quota release frees a slot by hand and is on record")
def quota_commands(world: World) -> None:
    customers(world, customer("acme", limit=2), customer("build", "build", since=-3))
    with serve(world) as server:
        client = server.client("orchestrator")
        meter(world, event("started", "acme", "runs", now() - HOUR))
        answered(client.reserve("acme", "asks"), 201)
        for account in ("acme", "build"):
            shown = json.loads(world.tally("quota", "show", account).stdout)
            told = client.quota(account)
            expect_same(told | {"credits": 0}, shown | {"credits": 0}, "quota show")
            expect_same(list(client.quota(account)), list(shown), "members of quota show")
        world.tally("quota", "show", "nobody", exit=(1, 2, 3))
        world.tally("quota", "release", "acme", "asks", exit=2)
        world.tally("quota", "release", "acme", "none", "--reason", "x", exit=(1, 2))
        world.tally("quota", "release", "acme", "asks", "--reason", "lost host")
        expect_same((1, 0), counts(client, "acme"), "running and reserved")
        world.tally("quota", "release", "acme", "runs", "--reason", "ghost; it is gone")
        expect_same((0, 0), counts(client, "acme"), "running and reserved")
        expect_same(None, lived(client, "acme", "runs"), "state")
        for vm in ("a", "b"):
            answered(client.reserve("acme", vm), 201)
        record = world.psql(
            "SELECT account, vm, reason, reservation IS NOT NULL, ran FROM released ORDER BY id")
        expect_same("acme|asks|lost host|t|f\nacme|runs|ghost; it is gone|f|t", record, "on record")
    recount(world)


@test("a release by hand of a VM whose end never comes: it counts again after the event delay")
def quota_release_again(world: World) -> None:
    customers(world, customer("acme", limit=1))
    with serve(world, *times(60, 2)) as server:
        client = server.client("orchestrator")
        meter(world, event("started", "acme", "vm", now() - HOUR))
        world.tally("quota", "release", "acme", "vm", "--reason", "gone",
                    "--event-delay-seconds", 2)
        expect_same((0, 0), counts(client, "acme"), "released")
        began = now()
        while counts(client, "acme") == (0, 0):
            expect(now() < began + 8_000_000, "it should count again")
        expect(now() > began + 1_500_000, "it counts again too early")
    recount(world)


@test("reconcile names ghosts both ways and sizes that differ; exit 1 where there is any")
def quota_reconcile(world: World) -> None:
    apply(world, {"accounts": [customer("acme"), customer("beta"), customer("calm")]})
    at = now() - HOUR
    meter(world, event("started", "acme", "same", at), event("started", "acme", "ghost", at),
          event("started", "acme", "grown", at, size="small"),
          event("resized", "acme", "grown", at + 1, size="LARGE"),
          event("started", "acme", "other", at, size="pico"), event("started", "beta", "same", at),
          event("started", "acme", "done", at), event("stopped", "acme", "done", at + 1),
          event("started", "acme", "watched", at), event("heartbeat", "acme", "watched", at + 1))
    theirs = [("acme", "same", "nano"), ("acme", "grown", "large"), ("acme", "other", "nano"),
              ("beta", "same", "Nano"), ("beta", "unknown", "small"), ("acme", "done", "nano")]

    def listed(*rows: tuple[str, str, str]) -> str:
        return "".join(json.dumps(dict(zip(("account", "vm", "size"), row))) + "\n" for row in rows)

    def differences(text: str, exit: int) -> list[tuple[str, str, str]]:
        ran = world.tally("reconcile", "-", "--format", "json", input=text, exit=exit)
        rows = [json.loads(line) for line in ran.stdout.splitlines()]
        return sorted((row["account"], row["vm"], row["difference"]) for row in rows)

    told = differences(listed(*theirs), 1)
    kinds = {vm: kind for _, vm, kind in told}
    expect_same([("acme", "done"), ("acme", "ghost"), ("acme", "other"), ("beta", "unknown")],
                [(account, vm) for account, vm, _ in told], "what differs")
    expect_same(kinds["done"], kinds["unknown"], "what is only in the list")
    expect_same(3, len(set(kinds.values())), f"kinds of difference: {kinds}")
    books = [("acme", "same", "nano"), ("acme", "grown", "large"), ("acme", "other", "pico"),
             ("beta", "same", "nano"), ("acme", "ghost", "nano")]
    expect_same([], differences(listed(*books), 0), "nothing differs")
    shown = world.tally("reconcile", world.write("list.ndjson", listed(*theirs)), exit=1).stdout
    for word in ("ghost", "unknown", "other"):
        expect(word in shown, f"reconcile should name {word}: {shown}")
    expect_same(5, len(differences("", 1)), "all that runs, where the list is empty")
    for bad in ("{", '{"account":"acme"}\n', '{"account":"a b","vm":"v","size":"nano"}\n'):
        world.tally("reconcile", "-", input=bad, exit=2)
    world.tally("reconcile", "/nowhere", exit=2)
