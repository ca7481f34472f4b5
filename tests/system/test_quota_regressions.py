# SPDX-License-Identifier: Apache-2.0
"""Faults of quota that were found once: each had its own way to break a promise."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from billing import expect_usage
from broker import Broker, record
from harness import World, expect, expect_same, test, until
from oracle import DEFAULT_CATALOG, ledger_of
from oracle_decode import MINUTE
from orchestrator import event, now, recount
from run import patience
from serving import Client, Reply, at_once, serve
from test_kafka import BOTH
from test_quota import HOUR, answered, counts, customer, customers, meter, times
from test_quota_faults import collecting
from test_reads import path

READERS = 4  # of a `tally serve`, by default
DEADLINE_SECONDS = 3  # within which a `tally serve` answers, by default
# Accounts are decided in several queues, by the hash of their name: so many are in all of them.
MANY = [f"a-{n}" for n in range(24)]


def timed(send: Callable[[], Reply]) -> tuple[Reply, float]:
    """The answer, and how long it took."""
    began = time.monotonic()
    reply = send()
    return reply, time.monotonic() - began


def unavailable(send: Callable[[], Reply], seconds: float) -> None:
    """Is 503 within so long, and says when to ask again."""
    reply, took = timed(send)
    answered(reply, 503, "unavailable")
    expect(int(reply.headers.get("retry-after", 0)) > 0, f"Retry-After: {reply}")
    expect(took < seconds * patience(), f"503 took {took:.1f} s")


# ---- databases that come back old, and accounts that are held ----


class Lives:
    """Machines that run on, of acme, and others that ran for a while, of beta; on a topic."""

    EVENTS = 3  # of each pair

    def __init__(self, broker: Broker) -> None:
        self.broker, self.count = broker, 0
        self.lines: list[bytes] = []

    def produce(self, count: int) -> None:
        records = []
        for n in range(self.count, self.count + count):
            vm, at = f"vm-{n}", now()
            lines = [event("started", "acme", vm, at),
                     event("started", "beta", vm, at - (60 + n) * MINUTE),
                     event("stopped", "beta", vm, at - 10 * MINUTE)]
            self.lines += lines
            records += [record(line, vm) for line in lines]
        self.count += count
        self.broker.produce(records)

    def metered(self, world: World) -> bool:
        return int(world.psql("SELECT count(*) FROM event")) == len(self.lines)


@test("a collector waits for its database, and an older copy of it comes back: all events are"
      " metered once, and nothing is granted until then", seconds=180, kafka=BOTH)
def quota_copied_back_meanwhile(world: World) -> None:
    world.own_postgres()
    accounts = [customer("acme", limit=35), customer("beta")]
    customers(world, *accounts)
    broker, data = Broker(world), world.postgres.data
    lives = Lives(broker)
    with collecting(world, broker, "collector"), serve(world, *times(2, 4)) as server:
        client = server.client("orchestrator")
        lives.produce(10)
        until(lambda: lives.metered(world), "it is metered", 40)
        answered(client.reserve("acme", "old"), 201)  # the server knows its database
        answered(client.release("acme", "old"), 204)
        world.postgres.stop()
        subprocess.run(["cp", "-a", data, f"{data}.older"], check=True)
        world.postgres.start()
        lives.produce(20)
        until(lambda: lives.metered(world), "it is metered", 40)
        time.sleep(2)  # Kafka's group is told of positions from time to time
        world.postgres.stop(signal.SIGQUIT)
        lives.produce(5)
        time.sleep(2)  # the collector has read them, and waits
        subprocess.run(["mv", data, f"{data}.newer"], check=True)
        subprocess.run(["mv", f"{data}.older", data], check=True)
        world.postgres.start()
        # All slots are taken, but for those that the database has forgotten.
        recognised = "SELECT count(*) FROM instance WHERE restored_at IS NOT NULL"
        until(lambda: world.psql(recognised) == "1", "it is recognised", 30)
        began, catching_up = time.monotonic(), 0

        def over() -> bool:
            nonlocal catching_up
            reply = client.reserve("acme", "new")
            if reply.status == 429:
                return True
            expect_same(503, reply.status, f"granted before all is known: {reply}")
            catching_up += reply.problem == "catching-up"
            return False

        until(over, "it has caught up", 60)
        expect(time.monotonic() - began > 5, "decided before what was forgotten is over")
        expect(catching_up > 0, "nobody was told catching-up")
        expect(lives.metered(world), "decided before all was metered")
        expect_same((35, 0), counts(client, "acme"), "all that runs is known")
    ledger = ledger_of({"accounts": accounts}, lives.lines, now(), DEFAULT_CATALOG)
    expect_usage(world, ledger, ["beta"], now())
    expect_same({}, dict(ledger.reasons()), "the oracle's dead letters")
    expect_same("0", world.psql("SELECT count(*) FROM dead_letter"), "dead letters")
    recount(world)


@contextmanager
def locked(world: World, sql: str) -> Iterator[subprocess.Popen[str]]:
    """Somebody else's transaction, which has done this and goes on; ends with COMMIT."""
    session = subprocess.Popen(
        ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", world.postgres.url(world.database)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    try:
        session.stdin.write(f"BEGIN;\n{sql};\n\\echo held\n")
        session.stdin.flush()
        while (line := session.stdout.readline()) and line != "held\n":
            pass
        expect(line, f"psql ended: {sql}")
        yield session
        session.stdin.write("COMMIT;\n")
    finally:
        session.stdin.close()
        session.wait(30)


@test("an account whose row somebody holds is 503 within the deadline; all others go on",
      seconds=90)
def quota_account_held(world: World) -> None:
    customers(world, customer("held"), *map(customer, MANY))
    with serve(world) as server:
        for account in ("held", *MANY):  # there are rows to lock
            answered(server.client("orchestrator").reserve(account, "before"), 201)
        clients = [server.client("orchestrator") for _ in range(len(MANY) + 4)]
        for client in clients:
            answered(client.reservation("held", "before"), 200)
        ends = time.monotonic() + 6
        slowest, heard = 0.0, 0

        def wants_held(client: Client, vm: str) -> None:
            nonlocal heard
            while time.monotonic() < ends - DEADLINE_SECONDS - 0.5:
                unavailable(lambda: client.reserve("held", vm), DEADLINE_SECONDS + 0.5)
                heard += 1

        def wants(client: Client, account: str) -> None:
            nonlocal slowest
            n = 0
            while time.monotonic() < ends - 0.5:
                reply, took = timed(lambda: client.reserve(account, f"vm-{n % 9}"))
                n += 1
                expect(reply.status in (200, 201), f"while another account is held: {reply}")
                slowest = max(slowest, took)
                time.sleep(0.05)

        with locked(world, "SELECT FROM quota WHERE account = 'held' FOR UPDATE"):
            work = [lambda c=c, a=a: wants(c, a) for c, a in zip(clients, MANY)]
            work += [lambda c=c, n=n: wants_held(c, f"vm-{n}")
                     for n, c in enumerate(clients[len(MANY):])]
            at_once(work)
            time.sleep(max(0, ends - time.monotonic()))
        expect(slowest < 1.5 * patience(), f"another account waited for {slowest:.1f} s")
        expect(heard >= 4, f"only {heard} asks for the account that was held")
        client = clients[0]
        for account in ("held", *MANY):
            until(lambda: client.reserve(account, "after").status in (200, 201), "all is well", 5)
        # What was refused may not have been done.
        vms = world.psql("SELECT vm FROM reservation WHERE account = 'held' ORDER BY vm")
        expect_same(["after", "before"], vms.split(), "reservations of the account that was held")
    recount(world)


# ---- statements whose plans went stale ----


def answers(send: Callable[[], Reply], statuses: tuple[int, ...], tries: int) -> None:
    """One of these, at the latest at the last try; 503 before that."""
    for _ in range(tries):
        reply = send()
        if reply.status in statuses:
            return
        expect_same(503, reply.status, f"after the schema changed: {reply}")
    expect(False, f"after the schema changed, {tries} tries: {reply}")


def retype(world: World, table: str, column: str, kind: str) -> None:
    """As a migration would: what customers see of the table is in its way."""
    world.psql(f"DROP VIEW public_customer.{table}; ALTER TABLE {table} ALTER {column} TYPE {kind};"
               f" SELECT customers_see('{table}')")


@test("a type of the table quota changes under a server: it prepares anew, and nobody hears 500")
def quota_stale_plans(world: World) -> None:
    customers(world, *map(customer, MANY))
    with serve(world) as server:
        client = server.client("orchestrator")
        for account in MANY:
            answered(client.reserve(account, "before"), 201)
        retype(world, "quota", "running", "bigint")
        for account in MANY:
            answers(lambda: client.reserve(account, "after"), (200, 201), 2)
        for account in MANY:
            answered(client.reserve(account, "again"), 201)
            expect_same((0, 3), counts(client, account), "slots")
    recount(world)


@test("a type that readers read changes under a server: they prepare anew, and nobody hears 500")
def quota_stale_plans_of_readers(world: World) -> None:
    customers(world, customer("acme"))
    at = now() - 3 * HOUR
    meter(world, event("started", "acme", "ran", at), event("stopped", "acme", "ran", at + HOUR))
    with serve(world) as server:
        client = server.client("finance")
        read = lambda: client.get(path("acme", "runs"))  # noqa: E731
        before = [answered(read(), 200)["runs"] for _ in range(2 * READERS)][-1]
        expect_same([60], [run["minutes"] for run in before], "minutes of the run")
        retype(world, "run", "minutes", "numeric")
        for _ in range(READERS):  # each connection may fail once
            answers(read, (200,), READERS + 1)
        for _ in range(2 * READERS):
            expect_same(before, answered(read(), 200)["runs"], "runs")


# ---- credits ----


@test("used up credits deny starts also while it is unknown how far collectors are: a partition"
      " appears that has no progress")
def quota_credits_without_progress(world: World) -> None:
    customers(world, customer("used", "build", since=-3), customer("some", "build", since=-3))
    meter(world, event("started", "used", "old", now() - 30 * HOUR, size="xlarge"))

    def check(client: Client, what: str) -> None:
        answered(client.reserve("used", "vm"), 402, "credits-exhausted")
        quota = client.quota("used")
        expect_same((False, True), (quota["can_start"], "credits-exhausted" in quota["reasons"]),
                    f"{what}: can_start, reasons: {quota}")
        expect(client.reserve("some", "vm").status in (200, 201), f"{what}: credits are left")
        expect(client.quota("some")["can_start"], f"{what}: credits are left")

    with serve(world) as server:
        check(server.client("orchestrator"), "before")
        world.psql("INSERT INTO position (topic, partition, next_offset) VALUES ('new', 0, 0)")
        ends = time.monotonic() + 4  # longer than credits are kept
        while time.monotonic() < ends:
            check(server.client("orchestrator"), "without progress")
            time.sleep(0.2)
    with serve(world) as server:
        check(server.client("orchestrator"), "by a new server")


# ---- databases that go away ----


@test("PostgreSQL is restarted while a server is idle: the first answer of each reader is 200",
      seconds=90)
def quota_readers_after_restart(world: World) -> None:
    world.own_postgres()
    customers(world, customer("acme"))
    with serve(world) as server:
        client = server.client("finance")
        for how in (signal.SIGINT, signal.SIGQUIT):
            for _ in range(2 * READERS):
                answered(client.get(path("acme", "usage")), 200)
            world.postgres.stop(how)
            time.sleep(0.2)
            world.postgres.start()
            for _ in range(2 * READERS):
                answered(client.get(path("acme", "usage")), 200)


@test("when the database has been away for more than a second, 503 comes at once", seconds=90)
def quota_away_at_once(world: World) -> None:
    world.own_postgres()
    customers(world, *map(customer, MANY))
    with serve(world) as server:
        client = server.client("orchestrator")
        for account in MANY:
            answered(client.reserve(account, "before"), 201)
        world.postgres.stop()
        clients = [server.client("orchestrator") for _ in MANY]
        # All queues have found out.
        at_once([lambda c=c, a=a: c.reserve(a, "first") for c, a in zip(clients, MANY)])
        time.sleep(1.2)
        for account in MANY:
            unavailable(lambda: client.reserve(account, "vm"), 0.5)
            unavailable(lambda: client.reservation(account, "before"), 0.5)
        world.postgres.start()
        for account in MANY:
            until(lambda: client.reserve(account, "vm").status == 201, "it goes on", 10)
    recount(world)


# ---- commands ----


@test("quota recount mends counts that were changed by hand; events that do not fit are refused"
      " until then")
def quota_recounted(world: World) -> None:
    customers(world, customer("acme", limit=3), customer("beta"), customer("idle"))
    begun = now() - MINUTE
    meter(world, *(event("started", "acme", f"vm-{n}", begun) for n in range(2)))
    with serve(world) as server:
        client = server.client("orchestrator")
        for account in ("beta", "idle"):
            answered(client.reserve(account, "vm"), 201)
        world.psql("UPDATE quota SET running = 3 WHERE account = 'acme'")
        world.psql("UPDATE quota SET reserved = 7 WHERE account = 'beta'")
        answered(client.reserve("acme", "new"), 429, "concurrency-limit")
        for mended in ("2 accounts", "0 accounts"):
            said = world.tally("quota", "recount").stderr
            expect(mended in said, f"recount should say {mended}: {said}")
            recount(world)
        answered(client.reserve("acme", "new"), 201)
        expect_same((2, 1), counts(client, "acme"), "acme's slots")
        expect_same((0, 1), counts(client, "beta"), "beta's slots")
        # Less than nothing cannot be counted.
        world.psql("UPDATE quota SET running = 0 WHERE account = 'acme'")
        stops = world.write("stops.ndjson", [event("stopped", "acme", "vm-0")])
        said = world.tally("meter", "--file", stops, exit=None)
        expect(said.exit > 0 and "quota recount" in said.stderr, f"what to do now: {said}")
        expect("1 account " in world.tally("quota", "recount").stderr, "recount mends one")
        world.tally("meter", "--file", stops)
        expect_same((1, 1), counts(client, "acme"), "acme's slots")
    recount(world)


@test("quota show tells whether an account may start, and why not, as the service does")
def quota_shown_reasons(world: World) -> None:
    customers(
        world,
        customer("free"),
        customer("reached", spend_limit="170.00"),
        customer("used", "build", since=-3),
        customer("full", limit=1, spend_limit="170.00"),
    )
    meter(world, event("started", "used", "old", now() - 30 * HOUR, size="xlarge"),
          event("started", "full", "vm"))
    rows = {"free": [], "reached": ["spend-limit"], "used": ["credits-exhausted"],
            "full": ["concurrency-limit", "spend-limit"]}
    with serve(world) as server:
        client = server.client("orchestrator")
        for account, reasons in rows.items():
            told = json.loads(world.tally("quota", "show", account).stdout)
            expect_same(reasons, sorted(told["reasons"]), f"{account}: reasons")
            expect_same(not reasons, told["can_start"], f"{account}: can_start")
            asked = client.quota(account)
            expect_same((sorted(told["reasons"]), told["can_start"]),
                        (sorted(asked["reasons"]), asked["can_start"]), f"{account}: over HTTP")


@test("reconcile names the VM that the list has twice")
def quota_reconcile_twice(world: World) -> None:
    customers(world, customer("acme"))
    vms = ["vm-1", "vm-2", "twice.of:these", "vm-3", "twice.of:these"]
    lines = [json.dumps({"account": "acme", "vm": vm, "size": "nano"}) for vm in vms]
    said = world.tally("reconcile", "-", input="\n".join(lines) + "\n", exit=2).stderr
    for word in ("twice", "acme", "twice.of:these"):
        expect(word in said, f"reconcile should name {word}: {said}")
