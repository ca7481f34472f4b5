# SPDX-License-Identifier: Apache-2.0
"""Quota under faults: servers, collectors, brokers, databases that die, hang, or come back old."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from billing import expect_usage
from broker import Broker
from harness import World, expect, expect_same, kill, test, until
from oracle import DEFAULT_CATALOG, ledger_of
from orchestrator import (
    RESERVATIONS,
    Fleet,
    Front,
    Orchestrator,
    Producer,
    beside,
    event,
    mock,
    now,
    quiet,
    recount,
    wanted,
)
from run import patience
from serving import reservation_path, serve
from test_kafka import BOTH, QUICK, SESSION_SECONDS, log_of, stop
from test_quota import answered, counts, customer, customers, meter, times

CLIENTS = 64


# ---- servers and databases that die while 64 clients reserve and release ----


class Holder:
    """One client: what it was answered must hold, whatever dies meanwhile."""

    def __init__(self, front: Front, accounts: list[str], n: int, seed: int, tries: bool) -> None:
        self.front, self.random = front, Random(f"{seed} {n}")
        self.tries = tries  # a server may have tried twice itself
        self.accounts, self.n = accounts, n
        self.held: dict[tuple[str, str], str] = {}
        self.denied = self.granted = 0

    def live(self, ending: threading.Event) -> None:
        orchestrator = Orchestrator(self.front, self.random)
        try:
            while not ending.is_set():
                vm = (self.random.choice(self.accounts), f"vm-{self.n}-{self.random.randrange(3)}")
                if vm not in self.held:
                    self._reserve(orchestrator, vm)
                else:
                    step = self.random.choice([self._release, self._renew, self._look])
                    step(orchestrator, vm)
        finally:
            orchestrator.close()

    def _reserve(self, orchestrator: Orchestrator, vm: tuple[str, str]) -> None:
        reply, unknown = orchestrator.insist("POST", RESERVATIONS, wanted(*vm))
        if reply.status == 429:
            self.denied += 1
            expect(reply.json["in_use"] >= reply.json["limit"], f"denied below the limit: {reply}")
            return
        # 200 means that an earlier try was done.
        twice = unknown or self.tries
        expect(reply.status == 201 or (reply.status == 200 and twice), f"reserving anew: {reply}")
        self.held[vm] = reply.json["id"]
        self.granted += 1

    def _renew(self, orchestrator: Orchestrator, vm: tuple[str, str]) -> None:
        reply, _ = orchestrator.insist("POST", RESERVATIONS, wanted(*vm))
        expect_same(200, reply.status, f"an answered reservation was lost: renewing {vm}: {reply}")
        self.held[vm] = reply.json["id"]

    def _look(self, orchestrator: Orchestrator, vm: tuple[str, str]) -> None:
        reply, _ = orchestrator.insist("GET", reservation_path(*vm))
        expect_same(200, reply.status, f"an answered reservation was lost: {vm}: {reply}")
        expect_same(self.held[vm], reply.json["id"], f"the reservation of {vm}: {reply}")

    def _release(self, orchestrator: Orchestrator, vm: tuple[str, str]) -> None:
        held = self.held[vm]
        reply, unknown = orchestrator.insist("DELETE", reservation_path(*vm),
                                             query={"reservation": held})
        done = reply.status == 204 or (reply.status == 404 and (unknown or self.tries))
        expect(done, f"an answered reservation was lost: releasing {held} of {vm}: {reply}")
        del self.held[vm]


def holding(world: World, front: Front, disturb: Callable[[Random], None], seconds: float,
            look: bool = True) -> None:
    """64 clients reserve, renew and release for so long, disturbed again and again. `look`: SQL is
    asked meanwhile whether a limit is exceeded."""
    limits = {"a-20": 20, "b-5": 5, "c-60": 60}
    customers(world, *(customer(name, limit=limit) for name, limit in limits.items()))
    ending = threading.Event()
    holders = [Holder(front, list(limits), n, world.seed, not look) for n in range(CLIENTS)]
    failures: list[BaseException] = []

    def live(holder: Holder) -> None:
        try:
            holder.live(ending)
        except BaseException as failure:
            failures.append(failure)
            ending.set()

    def check() -> None:
        if look:
            recount(world)
            within_limits(world, limits)

    def disturbed() -> None:
        random, deadline = Random(world.seed), time.monotonic() + seconds
        while time.monotonic() < deadline and not failures:
            disturb(random)

    threads = [threading.Thread(target=live, args=(h,), daemon=True) for h in holders]
    for thread in threads:
        thread.start()
    try:
        beside(disturbed, check)
    finally:
        ending.set()
        for thread in threads:
            thread.join(60)
    if failures:
        raise failures[0]
    recount(world)
    within_limits(world, limits)
    held = {vm: name for holder in holders for vm, name in holder.held.items()}
    rows = world.psql("SELECT account, vm, id FROM reservation").splitlines()
    stored = {tuple(row.split("|")[:2]): row.split("|")[2] for row in rows}
    expect_same(held, stored, "reservations that were answered, and those that are stored")
    granted, denied = (sum(getattr(h, what) for h in holders) for what in ("granted", "denied"))
    expect(granted > 100 and denied > 10, f"too little load: {granted} granted, {denied} denied")


def within_limits(world: World, limits: dict[str, int]) -> None:
    rows = world.psql("SELECT account, running + reserved FROM quota").splitlines()
    for account, in_use in (row.split("|") for row in rows):
        expect(int(in_use) <= limits[account], f"{account} has {in_use} slots in use")


@test("servers killed at random while 64 clients reserve and release: no answered reservation is"
      " lost, and no limit exceeded", seconds=180)
def quota_servers_killed(world: World) -> None:
    with Front(world, 3) as front:
        kills = 0

        def disturb(random: Random) -> None:
            nonlocal kills
            time.sleep(random.uniform(0.05, 0.8))
            front.replace(random.randrange(3))
            kills += 1

        holding(world, front, disturb, 12)
        expect(kills > 5, f"only {kills} kills")


@test("PostgreSQL restarted and crashed while 64 clients reserve and release: nothing is lost",
      seconds=240)
def quota_postgres_crash(world: World) -> None:
    world.own_postgres()
    with Front(world, 2) as front:

        def disturb(random: Random) -> None:
            time.sleep(random.uniform(0.5, 2))
            world.postgres.stop(random.choice([signal.SIGQUIT, signal.SIGINT]))
            time.sleep(random.uniform(0, 1))
            world.postgres.start()

        holding(world, front, disturb, 15, look=False)


def memory_kb(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines()
              if line.startswith("VmRSS")]
    return int(line.split()[1])


def processes_of(postgres: subprocess.Popen[bytes]) -> list[int]:
    """The server and its backends."""
    children = Path(f"/proc/{postgres.pid}/task/{postgres.pid}/children").read_text().split()
    return [postgres.pid, *map(int, children)]


@test("PostgreSQL hangs under load: 503 within the deadline, memory flat, and it goes on after",
      seconds=180)
def quota_postgres_hangs(world: World) -> None:
    world.own_postgres()
    customers(world, customer("acme", limit=1000))
    with Front(world, 1) as front:
        slowest: list[float] = []
        statuses: set[int] = set()
        ending = threading.Event()

        def load(n: int) -> None:
            orchestrator, asked = Orchestrator(front, Random(n)), 0
            while not ending.is_set():
                began = time.monotonic()
                asked += 1
                vm = wanted("acme", f"vm-{n}-{asked % 9}")
                reply = orchestrator.once("POST", RESERVATIONS, vm)
                statuses.add(reply.status)
                slowest.append(time.monotonic() - began)
            orchestrator.close()

        threads = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        until(lambda: len(slowest) > 2000, "there is load", 30)
        expect(statuses <= {200, 201}, f"answers before: {statuses}")
        pids = processes_of(world.postgres.process)
        server = front.servers[0]
        before = memory_kb(server.process.pid)
        slowest.clear()
        statuses.clear()
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(14)
            grown = memory_kb(server.process.pid) - before
        finally:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
        hung = list(slowest)
        expect(503 in statuses, f"answers meanwhile: {statuses}")
        expect(statuses <= {200, 201, 503}, f"answers meanwhile: {statuses}")
        expect(len(hung) >= CLIENTS, f"only {len(hung)} answers while PostgreSQL hung")
        expect(max(hung) < 8 * patience(), f"an answer took {max(hung):.1f} s")
        expect(grown < 24 * 1024, f"memory grew by {grown} KiB")
        probe = Orchestrator(front, Random(0))
        asked = wanted("acme", "probe")
        until(lambda: probe.once("POST", RESERVATIONS, asked).status in (200, 201), "it goes on")
        probe.close()
        ending.set()
        for thread in threads:
            thread.join(30)
    recount(world)


# ---- restored databases ----


def copied(world: World) -> str:
    """The database as pg_dump has it, in a new one."""
    name = f"{world.database}_restored"
    world.postgres.create(name)
    url = world.postgres.url
    dump = subprocess.run(["pg_dump", "-d", url(world.database)], capture_output=True, check=True)
    subprocess.run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", url(name)], input=dump.stdout,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return name


@test("a database restored from an older dump grants nothing until what it may have forgotten is"
      " over", seconds=90)
def quota_restored(world: World) -> None:
    customers(world, customer("acme", limit=2))
    with serve(world, *times(3, 3)) as server:
        client = server.client("orchestrator")
        answered(client.reserve("acme", "before"), 201)
        restored = copied(world)
        answered(client.reserve("acme", "forgotten"), 201)  # the dump does not know of it
    world.database = restored
    began = time.monotonic()
    for _ in range(2):  # another server does not take it for an old acquaintance
        with serve(world, *times(3, 3), ready=False) as server:
            client = server.client("orchestrator")
            for vm in ("new", "before"):
                replies = (client.reserve("acme", vm) for _ in range(50))
                reply = next(r for r in replies if r.problem != "unavailable")
                answered(reply, 503, "catching-up")
                expect(int(reply.headers.get("retry-after", 0)) > 0, f"Retry-After: {reply}")
            expect_same(200, client.get("/v1/accounts/acme/quota").status, "it can be looked at")
    with serve(world, *times(3, 3), ready=False) as server:
        client = server.client("orchestrator")
        until(lambda: client.reserve("acme", "new").status != 503, "it has caught up", 30)
        expect(time.monotonic() - began > 5.5, "granted before what was forgotten is over")
        answered(client.reserve("acme", "new"), 200)
    recount(world)


@test("a data directory copied back from before: the collector finds that Kafka knows more,"
      " and nothing is granted until progress has caught up", seconds=180, kafka=BOTH)
def quota_copied_back(world: World) -> None:
    world.own_postgres()
    customers(world, customer("acme", limit=25))
    broker, options = Broker(world), times(2, 4)
    producer = Producer(broker)
    with collecting(world, broker, "before"), serve(world, *options) as server:
        client = server.client("orchestrator")
        answered(client.reserve("acme", "old"), 201)
        for n in range(20):
            producer.send(event("heartbeat", "acme", f"vm-{n}"), f"vm-{n}")
        until(lambda: world.psql("SELECT count(*) FROM event") == "20", "it is metered", 30)
    world.postgres.stop()
    data = world.postgres.data
    subprocess.run(["cp", "-a", data, f"{data}.older"], check=True)
    world.postgres.start()
    with collecting(world, broker, "more"), serve(world, *options) as server:
        client = server.client("orchestrator")
        for n in range(20):
            vm = f"late-{n}"
            made = answered(client.reserve("acme", vm), 201)
            producer.send(event("started", "acme", vm, reservation=made["id"]), vm)
        until(lambda: world.psql("SELECT count(*) FROM event") == "40", "it is metered", 30)
        time.sleep(2)  # Kafka's group is told of positions from time to time
    world.postgres.stop()
    subprocess.run(["mv", data, f"{data}.newer"], check=True)
    subprocess.run(["mv", f"{data}.older", data], check=True)
    world.postgres.start()
    with collecting(world, broker, "after"), serve(world, *options, ready=False) as server:
        client = server.client("orchestrator")
        behind = lambda: client.reserve("acme", "new").problem == "catching-up"  # noqa: E731
        until(behind, "it is recognised", 20)
        began = time.monotonic()
        until(lambda: client.reserve("acme", "new").status != 503, "it has caught up", 40)
        expect(time.monotonic() - began > 5, "granted before what was forgotten is over")
        expect_same("40", world.psql("SELECT count(*) FROM event"), "events metered by then")
        expect_same(20, counts(client, "acme")[0], "all that runs is known")
    producer.stop()
    recount(world)


# ---- collectors and brokers ----


def collector(world: World, broker: Broker, name: str, *more: Any) -> subprocess.Popen[bytes]:
    """One by the clock, that goes on until it is stopped."""
    log = open(world.folder / f"{name}.log", "wb")
    return world.start("meter", *broker.flags, *QUICK, *more, stdout=log, stderr=log)


@contextmanager
def collecting(world: World, broker: Broker, name: str) -> Any:
    process = collector(world, broker, name)
    try:
        yield process
    except BaseException:
        kill(process)
        raise
    stop(world, process, name)


# Short lives, so that much of what is wrong would show; how long a broker may take here is in the
# delay.
LIFE, DELAY = 2, 8


class Orchestra:
    """A fleet, its producer, servers and collectors, and what must hold at the end."""

    def __init__(self, world: World, limit: int = 8, **how: Any) -> None:
        self.world, self.limit = world, limit
        self.broker = Broker(world)
        self.accounts = {"accounts": [customer("acme", limit=limit)]}
        customers(world, *self.accounts["accounts"])
        self.front = Front(world, 2, *times(LIFE, DELAY, skew=0))
        self.producer = Producer(self.broker)
        self.fleet = Fleet(self.front, self.producer, "acme", limit, event_delay_s=DELAY - 1,
                           seed=world.seed, **how)
        self.collectors: dict[str, subprocess.Popen[bytes]] = {}

    def collect(self, name: str) -> None:
        self.collectors[name] = collector(self.world, self.broker, name)

    def drop(self, name: str) -> None:
        kill(self.collectors.pop(name))

    def alive(self) -> None:
        self.fleet.check()
        for name, process in self.collectors.items():
            expect(process.poll() is None, f"{name} ended by itself:\n{log_of(self.world, name)}")

    def metered(self) -> int:
        return int(self.world.psql("SELECT count(*) FROM event"))

    def caught_up(self) -> bool:
        self.alive()
        return self.metered() == len(self.producer.lines)

    def finish(self, seconds: float = 60) -> None:
        """The fleet ends; then no slot is held, and usage is the oracle's."""
        self.fleet.end()
        until(self.caught_up, "all is metered", seconds)
        self.producer.stop()
        quiet(self.front, "acme", LIFE + DELAY + 25, Random(0))
        recount(self.world)
        self.world.psql("SELECT 1")
        ledger = ledger_of(self.accounts, self.producer.lines, now(), DEFAULT_CATALOG)
        expect_same({}, dict(ledger.reasons()), "the oracle's dead letters")
        expect_usage(self.world, ledger, ["acme"], now())
        for name, process in self.collectors.items():
            stop(self.world, process, name)
        with self.front:
            pass


@test("an orchestrator's whole life on Kafka: reserve, start, beat, resize, hibernate, resume,"
      " stop; never over the limit, no slot leaked, usage as the oracle has it", seconds=150,
      kafka=BOTH)
def quota_whole_life(world: World) -> None:
    orchestra = Orchestra(world)
    orchestra.collect("collector")
    orchestra.fleet.begin()
    orchestra.fleet.until_more("started", 10)
    until(lambda: orchestra.metered() > 20, "events are metered", 30)
    orchestra.fleet.go_on(8)
    orchestra.alive()
    # What retries as the SDK does gets through, though it is denied at first.
    patient = Orchestrator(orchestra.front, Random(1))
    reply = patient.ask("POST", RESERVATIONS, wanted("acme", "patient"))
    expect(reply.status in (201, 429), str(reply))
    missing = patient.ask("GET", reservation_path("acme", "nobody"))
    expect_same(404, missing.status, "not tried again")
    patient.close()
    did = orchestra.fleet.did
    expect(did["answer 429"] > 0 and did["hibernated"] > 3, f"too little happened: {dict(did)}")
    orchestra.finish()


@test("the collector is down for ten times a reservation's life while machines start, hibernate"
      " and resume: never over the limit, vouches give slots back, nothing is leaked", seconds=240,
      kafka=BOTH)
def quota_collector_down(world: World) -> None:
    orchestra = Orchestra(world, vouching=0.7)
    fleet = orchestra.fleet
    orchestra.collect("first")
    fleet.begin()
    fleet.until_more("started", 10)
    until(lambda: orchestra.metered() > 10, "events are metered", 30)
    orchestra.drop("first")
    fleet.staying.clear()  # others stay, whose start is not metered
    started, began = fleet.did["started"], time.monotonic()
    client = orchestra.front.servers[0].client("orchestrator")
    reply = client.reserve("acme", "waits")  # granted or not: it must not lapse
    while time.monotonic() < began + 10 * LIFE:
        fleet.go_on(1)
    if reply.status == 201:
        shown = answered(client.reservation("acme", "waits"), 200)
        expect_same(reply.json["id"], shown["id"], "nothing expires meanwhile")
    more = fleet.did["started"] - started
    expect(more > 2 * fleet.limit, f"only {more} starts meanwhile: {dict(fleet.did)}")
    recount(world)
    orchestra.collect("second")
    fleet.until_more("started", 10, 60)
    fleet.go_on(5)
    client.close()
    orchestra.finish(90)


@test("collectors come, go and rebalance while machines start and stop: never over the limit",
      seconds=240, kafka=BOTH)
def quota_rebalance(world: World) -> None:
    orchestra = Orchestra(world)
    fleet = orchestra.fleet
    orchestra.collect("first")
    fleet.begin()
    fleet.until_more("started", 5)
    orchestra.collect("second")
    fleet.go_on(SESSION_SECONDS + 2)
    orchestra.drop("first")
    fleet.go_on(SESSION_SECONDS + 4)
    orchestra.collect("third")
    fleet.go_on(SESSION_SECONDS + 2)
    stop(world, orchestra.collectors.pop("second"), "second")
    fleet.go_on(5)
    orchestra.alive()
    orchestra.finish(90)


@test("producers are cut off again and again for less than the event delay, while progress goes on:"
      " never over the limit", seconds=240, kafka=BOTH)
def quota_producer_cut(world: World) -> None:
    orchestra = Orchestra(world)
    fleet = orchestra.fleet
    orchestra.collect("collector")
    fleet.begin()
    fleet.until_more("started", 5)
    for _ in range(3):
        orchestra.producer.cut_until = time.monotonic() + DELAY - 3
        fleet.go_on(DELAY - 3 + 2)
    orchestra.alive()
    slowest = orchestra.producer.slowest
    expect(slowest > DELAY - 4, f"no event had to wait: {slowest:.1f} s at most")
    orchestra.finish(90)


@test("partitions are added under load: nothing expires too early, never over the limit",
      seconds=240, kafka=("real",))
def quota_partitions_added(world: World) -> None:
    orchestra = Orchestra(world, vms=40)
    fleet = orchestra.fleet
    orchestra.collect("collector")
    fleet.begin()
    fleet.until_more("started", 5)
    for partitions in (6, 9, 14):
        orchestra.broker.grow(partitions)
        fleet.go_on(7)
    orchestra.alive()
    orchestra.finish(90)


@test("the broker is away for a while: servers go on reserving, nothing expires, no VM is lost",
      seconds=180, kafka=("mock",))
def quota_broker_away(world: World) -> None:
    catalog = {**DEFAULT_CATALOG, "versions": [
        version | {"heartbeat_timeout_seconds": 5} for version in DEFAULT_CATALOG["versions"]]}
    world.tally("catalog", "apply", world.write("catalog.json", catalog))
    customers(world, customer("acme", limit=4))
    broker = Broker(world)
    producer = Producer(broker)

    def beat() -> None:
        producer.send(event("heartbeat", "acme", "beats"), "beats")

    with collecting(world, broker, "collector"), serve(world, *times(1, 1)) as server:
        client = server.client("orchestrator")
        until(lambda: world.psql("SELECT count(progress) FROM position") == "4", "progress", 40)
        producer.send(event("started", "acme", "beats"), "beats")
        beat()
        until(lambda: counts(client, "acme") == (1, 0), "it runs", 20)
        beat()
        until(lambda: world.psql("SELECT count(*) FROM event") == "3", "it is metered", 20)
        mock(broker, "down")
        time.sleep(1)
        for n in range(3):
            answered(client.reserve("acme", f"asks-{n}"), 201)
        answered(client.reserve("acme", "asks-3"), 429, "concurrency-limit")
        for _ in range(9):
            time.sleep(1)
            expect_same((1, 3), counts(client, "acme"), "while the broker is away")
            expect_same(200, client.get("/readyz").status, "/readyz while the broker is away")
        answered(client.release("acme", "asks-0"), 204)
        mock(broker, "up")
        beat()
        until(lambda: counts(client, "acme")[1] == 0, "what was not used expires", 40)
        beat()
        until(lambda: counts(client, "acme") == (1, 0), "who beats again runs", 20)
    producer.stop()
    recount(world)


@test("while nobody meters, progress stands still: no reservation expires", seconds=120, kafka=BOTH)
def quota_held_back(world: World) -> None:
    customers(world, customer("acme", limit=1))
    broker = Broker(world)
    with serve(world, *times(1, 1)) as server:
        client = server.client("orchestrator")
        with collecting(world, broker, "collector") as process:
            answered(client.reserve("acme", "vm"), 201)
            until(lambda: client.reserve("acme", "other").status == 201, "it expires", 30)
            process.send_signal(signal.SIGSTOP)
            time.sleep(1)
            answered(client.reserve("acme", "other"), 200)
            for _ in range(3):  # less than the session's timeout
                time.sleep(1)
                answered(client.reserve("acme", "vm"), 429, "concurrency-limit")
            process.send_signal(signal.SIGCONT)
            until(lambda: client.reserve("acme", "vm").status == 201, "it expires", 60)
        # The collector has stopped in order: nobody meters, nothing expires.
        for _ in range(5):
            time.sleep(1)
            answered(client.reserve("acme", "other"), 429, "concurrency-limit")
        # What a file has is metered all the same, and uses its reservation.
        meter(world, event("started", "acme", "vm"), event("stopped", "acme", "vm", now() + 1))
        answered(client.reserve("acme", "other"), 201)
    recount(world)
