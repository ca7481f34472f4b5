# SPDX-License-Identifier: Apache-2.0
"""Events through Kafka: any order, any partition, repeats, collectors that come, hang and die."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from random import Random
from threading import Thread
from typing import Any

from billing import apply, expect_history, oracle_of, pieces, reasons, usage
from broker import Broker, record, scattered
from harness import World, expect, expect_same, kill, test, until
from histories import World as History
from histories import iso, varied
from histories import world as draw
from oracle import DEFAULT_CATALOG
from test_scenarios import ORDERS, SCENARIOS, Scenario

BOTH = ("mock", "real")
# The shortest that brokers allow: a collector that is gone is noticed after this.
SESSION_SECONDS = 6
QUICK = ["--kafka-option", f"session.timeout.ms={SESSION_SECONDS * 1000}"]


def catch_up(world: World, broker: Broker, as_of: int, *more: Any) -> None:
    world.tally(
        *("meter", "--until-caught-up", "--as-of", iso(as_of), *broker.flags, *QUICK, *more)
    )


def collector(world: World, broker: Broker, as_of: int, name: str) -> subprocess.Popen[bytes]:
    """One that goes on until it is stopped; in small batches, so that much can go wrong."""
    log = open(world.folder / f"{name}.log", "wb")
    return world.start(
        *("meter", "--as-of", iso(as_of), "--batch-max", 5, *broker.flags, *QUICK),
        stdout=log, stderr=log,
    )


def stop(world: World, process: subprocess.Popen[bytes], name: str) -> None:
    """Asked to end, a collector ends in order."""
    expect(process.poll() is None, f"{name} ended by itself:\n{log_of(world, name)}")
    process.send_signal(signal.SIGTERM)
    expect_same(0, process.wait(30), f"exit of {name} after SIGTERM:\n{log_of(world, name)}")


def log_of(world: World, name: str) -> str:
    return (world.folder / f"{name}.log").read_text(errors="replace")[-3000:]


def register(scenario: Scenario, order: str) -> None:
    # Order holds within a partition only, so what has one goes to one; the rest is scattered over all.
    ordered = order in ("given", "reversed")
    where = "one partition" if ordered else "four partitions"

    @test(
        f"the scenario {scenario.name}, its events {order}, through {where} comes to the expected sums",
        name=f"kafka_scenario_{scenario.name}_{order}", seconds=120, kafka=BOTH,
    )
    def run(world: World) -> None:
        broker = Broker(world)
        lines = ORDERS[order](scenario.lines, world.random)
        broker.produce(scattered(world.random, lines, 1 if ordered else broker.partitions))
        apply(world, scenario.accounts)
        catch_up(world, broker, scenario.as_of)
        scenario.bill(world)


for scenario in map(Scenario, SCENARIOS):
    if not (scenario.folder / "steps.json").exists():
        for order in ORDERS:
            register(scenario, order)


class Load:
    """A history that is produced piece by piece while collectors come and go."""

    def __init__(self, world: World, accounts: int = 60) -> None:
        self.world, self.random = world, world.random
        self.broker = Broker(world)
        self.history: History = draw(self.random, "2026-09", accounts, DEFAULT_CATALOG)
        apply(world, self.history.accounts)
        self.history.lines = ordered_conflicts(self.history)
        self.marked = 0
        self.trickling: Thread | None = None
        self.failure: Exception | None = None

    @property
    def as_of(self) -> int:
        return self.history.as_of

    def trickle(self, seconds: float = 15) -> None:
        """Goes on producing beside the test, for about so long."""
        count = int(seconds / 0.4)
        parts = pieces(Random(self.world.seed), self.history.lines, count)

        def produce() -> None:
            try:
                for n, lines in enumerate(parts):
                    self.produce(lines, Random(n))
                    time.sleep(0.3)
            except Exception as failure:
                self.failure = failure

        self.trickling = Thread(target=produce, daemon=True)
        self.trickling.start()

    def produce(self, lines: list[bytes], random: Random) -> None:
        self.broker.produce(scattered(random, lines, self.broker.partitions))

    def metered(self) -> int:
        return int(self.world.psql("SELECT count(*) FROM event"))

    def mark(self) -> None:
        """What is metered after this is more."""
        self.marked = self.metered()

    def wait_for_more(self, seconds: float = 40) -> None:
        """Until something is metered since the last mark."""
        until(lambda: self.metered() > self.marked, "something is metered", seconds)
        self.mark()

    def finish(self, produced: bool = False) -> None:
        """Produces (unless that is done) and meters what is left, and compares with the oracle."""
        if self.trickling is not None:
            self.trickling.join()
        elif not produced:
            self.produce(self.history.lines, self.random)
        if self.failure is not None:
            raise self.failure
        catch_up(self.world, self.broker, self.as_of)
        sample = self.random.sample(self.history.ids, min(30, len(self.history.ids)))
        expect_history(self.world, self.history, oracle_of(self.history), sample)


def ordered_conflicts(history: History) -> list[bytes]:
    """Without conflicts: which of them is first is decided by partitions, not by us."""
    ledger = oracle_of(history)
    conflicting = {line for reason, line in ledger.dead if reason == "conflict"}
    return [line for line in history.lines if line not in conflicting]


@test("a history through Kafka comes to the same as the oracle has it", seconds=120, kafka=BOTH)
def kafka_history(world: World) -> None:
    Load(world, accounts=100).finish()


@test("caught up once, catching up again changes nothing", seconds=120, kafka=BOTH)
def kafka_again(world: World) -> None:
    load = Load(world, accounts=20)
    load.finish()
    before = load.metered(), reasons(world)
    catch_up(world, load.broker, load.as_of)
    expect_same(before, (load.metered(), reasons(world)), "what was metered")


@test("every event one to five times, on any partition, counts once", seconds=120, kafka=BOTH)
def kafka_repeats(world: World) -> None:
    load = Load(world, accounts=30)
    ledger = oracle_of(load.history)
    bad = {line for _, line in ledger.dead}
    times = [1 if line in bad else load.random.randrange(1, 6) for line in load.history.lines]
    repeated = [line for line, n in zip(load.history.lines, times) for _ in range(n)]
    load.history.lines = load.random.sample(repeated, len(repeated))
    load.finish()


@test("of two contents of one identity the first metered stands", seconds=60, kafka=BOTH)
def kafka_conflict(world: World) -> None:
    broker = Broker(world)
    accounts = Scenario(next(f for f in SCENARIOS if f.name == "lifecycle")).accounts
    apply(world, accounts)
    as_of = draw(Random(1), "2026-09", 1, DEFAULT_CATALOG).as_of
    broker.produce([record(varied("acme", "c"), partition=2)])
    catch_up(world, broker, as_of)
    other = varied("acme", "c", ["data", "size"], "large")
    broker.produce([record(other, partition=0), record(varied("acme", "c"), partition=1)])
    catch_up(world, broker, as_of)
    expect_same({"conflict": 1}, dict(reasons(world)), "dead letters")
    expect_same({"nano"}, {size for _, _, size in usage(world, "acme", as_of)}, "sizes")


@test("a collector killed again and again comes to the same", seconds=180, kafka=BOTH)
def kafka_killed(world: World) -> None:
    load = Load(world)
    load.trickle(35)
    kills = 0
    while load.trickling.is_alive():
        process = collector(world, load.broker, load.as_of, f"killed-{kills}")
        until(lambda: load.metered() > load.marked or not load.trickling.is_alive(),
              "something is metered", 90)
        time.sleep(load.random.uniform(0, 1))
        kill(process)
        kills += 1
        load.mark()
    expect(kills > 1, f"only {kills} kills under load")
    load.finish()


@test("a second collector comes under load, the first is killed: nothing is lost or doubled",
      seconds=180, kafka=BOTH)
def kafka_rebalance(world: World) -> None:
    load = Load(world)
    load.trickle(30)
    first = collector(world, load.broker, load.as_of, "first")
    load.wait_for_more()
    second = collector(world, load.broker, load.as_of, "second")
    time.sleep(SESSION_SECONDS + 2)
    kill(first)
    load.mark()
    load.wait_for_more()
    third = collector(world, load.broker, load.as_of, "third")
    time.sleep(SESSION_SECONDS)
    stop(world, second, "second")
    time.sleep(2)
    stop(world, third, "third")
    load.finish()


# ---- collectors that hang ----

# A session that hangs in its transaction is ended after 10 s, and lock waits begin anew after 10 s.
CUT_OFF_SECONDS = 20


class Holding:
    """Another session, which has done something and does not commit it."""

    def __init__(self, world: World, sql: str) -> None:
        self.session = subprocess.Popen(
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", world.postgres.url(world.database)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.session.stdin.write(f"BEGIN; {sql}; SELECT 'held';\n")
        self.session.stdin.flush()
        expect_same("held", self.session.stdout.readline().strip(), f"answer to {sql}")

    def let_go(self) -> None:
        self.session.communicate("ROLLBACK;\n", 10)


def sessions(world: World, condition: str) -> int:
    """How many of our database's sessions are so."""
    return int(world.psql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        f" AND pid <> pg_backend_pid() AND {condition}"
    ))


def hang(world: World, process: subprocess.Popen[bytes], holding: Holding, how: str) -> None:
    """Stops a collector that waits for what is held; its session then gets it, and hangs so."""
    until(lambda: sessions(world, "wait_event_type = 'Lock'"), "the collector waits for a lock")
    time.sleep(1)  # what it can still send is sent
    process.send_signal(signal.SIGSTOP)
    holding.let_go()
    until(lambda: sessions(world, how), f"a session hangs: {how}")


def long_ids(account: str, vms: int) -> list[bytes]:
    """Runs of 5 minutes, one of each VM, in more bytes than a connection holds."""
    return [
        json.dumps(json.loads(varied(account, f"{n:06}-{kind}-{'x' * 300}", ["subject"], f"vm-{n:06}"))
                   | {"type": f"vm.{kind}", "time": f"2025-03-03T10:{minute:02}:00Z"}).encode()
        for n in range(vms) for kind, minute in (("started", 0), ("stopped", 5))
    ]


def register_hanging(where: str, held: str, how: str, name: str) -> None:
    @test(
        f"a collector that hangs {where} is cut off, so that the next can write what it would have"
        " written; going on, it changes nothing",
        name=name, seconds=120,
    )
    def run(world: World) -> None:
        accounts = Scenario(next(f for f in SCENARIOS if f.name == "lifecycle")).accounts
        apply(world, accounts)
        lines = long_ids("acme", 4000)
        command = ["meter", "--file", world.write("events.ndjson", lines)]
        log = open(world.folder / "hanging.log", "wb")
        holding = Holding(world, held)
        hanging = world.start(*command, stdout=log, stderr=log)
        hang(world, hanging, holding, how)
        world.tally(*command, seconds=10 + CUT_OFF_SECONDS)
        sums = "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM run), sum(minutes) FROM usage_day"
        expect_same("8000|4000|20000", world.psql(sums), "events, runs and minutes")
        hanging.send_signal(signal.SIGCONT)
        expect_same(0, hanging.wait(60), f"exit of the one that hung:\n{log_of(world, 'hanging')}")
        expect_same("8000|4000|20000", world.psql(sums), "events, runs and minutes after all")


register_hanging(
    "with all it has written and the accounts' locks",
    "SELECT FROM quota WHERE account = 'acme' FOR UPDATE",
    "state = 'idle in transaction' AND query NOT LIKE 'SELECT ''held''%'", "hanging_idle",
)
register_hanging(
    "in the middle of a COPY",
    "INSERT INTO event (account, vm, source, id, at, type, origin, position) VALUES ('acme', "
    f"'vm-000000', '/bad', 'bad-000000-started-{'x' * 300}', now(), 0, 1, 1)",
    "state = 'active' AND wait_event = 'ClientRead'", "hanging_copy",
)


@test("a collector that hangs in its transaction, with the positions locked, is replaced within"
      " seconds; going on, it writes nothing", seconds=180, kafka=BOTH)
def kafka_hanging_locks(world: World) -> None:
    load = Load(world, accounts=10)
    parts = pieces(Random(world.seed), load.history.lines, 3)
    load.produce(parts[0], load.random)
    hanging = collector(world, load.broker, load.as_of, "hanging")
    load.wait_for_more()
    holding = Holding(world, "SELECT FROM quota FOR UPDATE")
    load.produce(parts[1], load.random)
    hang(world, hanging, holding, "state = 'idle in transaction' AND query NOT LIKE 'SELECT ''held''%'")
    load.mark()
    heir = collector(world, load.broker, load.as_of, "heir")
    # The group waits for the session's end, and may only then let the heir join.
    load.wait_for_more(2 * SESSION_SECONDS + CUT_OFF_SECONDS)
    hanging.send_signal(signal.SIGCONT)
    load.produce(parts[2], load.random)
    load.wait_for_more(2 * SESSION_SECONDS + CUT_OFF_SECONDS)
    for process, name in ((heir, "heir"), (hanging, "hanging")):
        stop(world, process, name)
    load.finish(produced=True)


@test("a collector that hangs past its session and goes on writes nothing", seconds=180,
      kafka=BOTH)
def kafka_stopped(world: World) -> None:
    load = Load(world)
    load.trickle(25)
    hanging = collector(world, load.broker, load.as_of, "hanging")
    load.wait_for_more()
    hanging.send_signal(signal.SIGSTOP)
    load.mark()
    heir = collector(world, load.broker, load.as_of, "heir")
    load.wait_for_more(2 * SESSION_SECONDS + CUT_OFF_SECONDS)
    time.sleep(1)
    hanging.send_signal(signal.SIGCONT)
    time.sleep(SESSION_SECONDS)
    stop(world, heir, "heir")
    # What it finds out is its own business: it may go on in order, or end with a message.
    hanging.terminate()
    hanging.wait(30)
    expect(hanging.returncode >= 0, f"killed by a signal: {log_of(world, 'hanging')}")
    load.finish()


@test("PostgreSQL crashes under load: the collector waits, and goes on", seconds=180, kafka=BOTH)
def kafka_postgres_crash(world: World) -> None:
    world.own_postgres()
    load = Load(world)
    load.trickle(15)
    process = collector(world, load.broker, load.as_of, "collector")
    load.wait_for_more()
    for how in (signal.SIGQUIT, signal.SIGINT, signal.SIGQUIT):
        load.mark()
        world.postgres.stop(how)
        time.sleep(1.5)
        world.postgres.start()
        load.wait_for_more()
    stop(world, process, "collector")
    load.finish()


@test("the broker hangs for a while: the collector waits, and goes on", seconds=180,
      kafka=("mock",))
def kafka_broker_hangs(world: World) -> None:
    load = Load(world)
    load.trickle(10)
    process = collector(world, load.broker, load.as_of, "collector")
    load.wait_for_more()
    load.broker.mock.send_signal(signal.SIGSTOP)
    time.sleep(1)
    load.mark()
    time.sleep(2 * SESSION_SECONDS)
    load.broker.mock.send_signal(signal.SIGCONT)
    load.wait_for_more(90)
    stop(world, process, "collector")
    load.finish()


@test("partitions are added under load: nothing is lost or doubled", seconds=180, kafka=("real",))
def kafka_grows(world: World) -> None:
    load = Load(world)
    load.trickle(12)
    process = collector(world, load.broker, load.as_of, "collector")
    load.wait_for_more()
    for partitions in (6, 9):
        load.broker.grow(partitions)
        time.sleep(1)
        load.mark()
        load.wait_for_more()
    stop(world, process, "collector")
    load.finish()


@test("a topic made anew stops the collector with a clear error, and is not read", seconds=120,
      kafka=("real",))
def kafka_made_anew(world: World) -> None:
    load = Load(world, accounts=10)
    load.finish()
    before = load.metered(), reasons(world)
    lines = load.history.lines
    for again in (lines[:5], lines[::-1] + lines):  # shorter than our position, and longer
        load.broker.delete()
        time.sleep(2)
        load.broker.create()
        time.sleep(1)
        load.broker.produce(scattered(load.random, again, load.broker.partitions))
        ran = world.tally(
            *("meter", "--until-caught-up", "--as-of", iso(load.as_of)),
            *load.broker.flags, *QUICK, exit=None, seconds=60,
        )
        expect(ran.exit == 1, f"expected exit 1\n{ran}")
        expect(load.broker.topic in ran.stderr, f"the topic is named\n{ran}")
        expect_same(before, (load.metered(), reasons(world)), "what was metered")


# ---- forms of events ----


def in_binary_mode(line: bytes) -> dict[str, Any]:
    """The same event, its attributes as headers."""
    fields = json.loads(line)
    data = fields.pop("data", None)
    headers = {f"ce_{name}": str(value) for name, value in fields.items() if value is not None}
    headers.pop("ce_datacontenttype", None)
    body = None if data is None else json.dumps(data).encode()
    return record(body, **{"content_type": "application/json"} | headers)


def in_structured_mode(line: bytes) -> dict[str, Any]:
    return record(line, content_type="application/cloudevents+json; charset=UTF-8")


@test("events in binary mode are events as in structured mode", seconds=60, kafka=BOTH)
def kafka_binary_mode(world: World) -> None:
    scenario = next(Scenario(f) for f in SCENARIOS if f.name == "fleet")
    broker = Broker(world)
    forms = [in_binary_mode, in_structured_mode, record]
    records = [form(line) for line in scenario.lines for form in world.random.sample(forms, 2)]
    broker.produce(world.random.sample(records, len(records)))
    apply(world, scenario.accounts)
    catch_up(world, broker, scenario.as_of)
    expect_same({}, dict(reasons(world)), "dead letters")
    scenario.bill(world)


@test("what cannot be metered goes to the dead letters, and metering goes on", seconds=90,
      kafka=BOTH)
def kafka_dead_letters(world: World) -> None:
    scenario = next(Scenario(f) for f in SCENARIOS if f.name == "lifecycle")
    apply(world, scenario.accounts)
    broker = Broker(world)
    good = scenario.lines[0]
    large = 10_000_000 if world.kafka != "mock" else 900_000
    binary = in_binary_mode(varied("acme", "b"))
    no_type = {**binary, "headers": {**binary["headers"]}}
    del no_type["headers"]["ce_type"]
    bad = {
        "null value": (record(None), "malformed"),
        "empty value": (record(b""), "malformed"),
        "empty key": (record(b"{", key=""), "malformed"),
        "large value": (record(b"x" * large), "malformed"),
        "too deep": (record(good[:-1] + b',"x":' + b"[" * 1001 + b"]" * 1001 + b"}"), "malformed"),
        "NUL": (record(good[:-1] + b',"x":"\0"}'), "malformed"),
        "bad UTF-8": (record(good[:-1] + b',"x":"\xff"}'), "malformed"),
        "no fields": (record(b"{}"), "invalid"),
        "binary without type": (no_type, "invalid"),
        "binary, bad data": (record(b"{", **_headers(binary)), "malformed"),
        "unknown account": (in_binary_mode(varied("nobody", "n")), "unknown_account"),
    }
    records = [dict(r, partition=0) for r, _ in bad.values()]
    broker.produce([*records[:6], *[record(line) for line in scenario.lines], *records[6:]])
    catch_up(world, broker, scenario.as_of)
    letters = sorted(
        (l for l in world.json("dead-letters", "list") if l["partition"] == 0),
        key=lambda letter: letter["offset"],
    )
    expect_same(sorted(r for _, r in bad.values()), sorted(l["reason"] for l in letters), "reasons")
    by_order = [letter["reason"] for letter in letters]
    expect_same([reason for _, reason in bad.values()], by_order, "reasons by offset")
    expect_same({broker.topic}, {letter["topic"] for letter in letters}, "topics")
    scenario.bill(world)


def _headers(written: dict[str, Any]) -> dict[str, str]:
    return {name.replace("content-type", "content_type"): text
            for name, text in written["headers"].items()}


@test("a broker that is not there: the collector says so and waits", seconds=60, kafka=("mock",))
def kafka_not_there(world: World) -> None:
    flags = ["--brokers", "127.0.0.1:1", "--topic", "vm.lifecycle"]
    log = open(world.folder / "waiting.log", "wb")
    process = world.start("meter", *flags, stdout=log, stderr=log)
    until(lambda: log_of(world, "waiting"), "a message", 20)
    expect(process.poll() is None, f"it ended: {log_of(world, 'waiting')}")
    process.send_signal(signal.SIGTERM)
    process.wait(30)
