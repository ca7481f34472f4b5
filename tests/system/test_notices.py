# SPDX-License-Identifier: Apache-2.0
"""Notices: in the transaction that causes them, then on tally.notices: at least once, in order per
account, by one relay at a time; thresholds by the clock, once."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from billing import apply
from broker import Broker, _text, record
from harness import Skipped, World, expect, expect_same, kill, test, until

BOTH = ("mock", "real")
TOPIC = "tally.notices"
Told = dict[str, Any]


# ---- the outbox, the topic, and collectors ----


def collector(world: World, broker: Broker, name: str = "collector") -> subprocess.Popen[bytes]:
    log = open(world.folder / f"{name}.log", "ab")
    return world.start("meter", *broker.flags, stdout=log, stderr=log)


def log_of(world: World, name: str = "collector") -> str:
    return (world.folder / f"{name}.log").read_text(errors="replace")


@contextlib.contextmanager
def running(world: World, broker: Broker, name: str = "collector") -> Iterator[subprocess.Popen[bytes]]:
    process = collector(world, broker, name)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            expect_same(0, process.wait(30), f"exit after SIGTERM:\n{log_of(world, name)}")


def make_topic(broker: Broker) -> None:
    """The notices' topic, on a real broker, which has it from another test perhaps."""
    if broker.mock is not None:
        return
    topic = _text(TOPIC) + struct.pack(">iHii", 4, 1, 0, 0)
    answer = broker._ask(19, 2, struct.pack(">i", 1) + topic + struct.pack(">ib", 30000, 0))
    code = struct.unpack(">h", answer[4:][6 + len(TOPIC) : 8 + len(TOPIC)])[0]
    expect(code in (0, 36), f"Kafka would not create {TOPIC}: error {code}")


def tell_mock(broker: Broker, command: str) -> None:
    broker.mock.stdin.write(command.encode() + b"\n")
    broker.mock.stdin.flush()
    expect_same("ok", broker.mock.stdout.readline().decode().strip(), f"tool_mock: {command}")


def write(world: World, first: int, count: int, accounts: int = 7) -> None:
    """Notices numbered on, as whoever causes them would write them."""
    world.psql(
        "INSERT INTO notice (account, type, subject, data)"
        f" SELECT 'a' || n % {accounts}, 'tally.test', 'vm-' || n,"
        f" jsonb_build_object('account', 'a' || n % {accounts}, 'n', n)"
        f" FROM generate_series({first}, {first + count - 1}) AS n ORDER BY n"
    )


def unpublished(world: World) -> int:
    return int(world.psql("SELECT count(*) FROM notice WHERE published_at IS NULL"))


def all_published(world: World, seconds: float = 60) -> None:
    until(lambda: unpublished(world) == 0, "every notice is published", seconds)


def topic(world: World, broker: Broker) -> list[Told]:
    """All of this test's on the topic, by partition, in their order."""
    command = [world.tools / "tool_consume", "--brokers", broker.brokers, "--topic", TOPIC]
    ran = subprocess.run([*command, "--seconds", "60"], capture_output=True, text=True, check=False)
    expect(ran.returncode == 0, f"tool_consume ended with {ran.returncode}: {ran.stderr}")
    ours = set(world.psql("SELECT event_id FROM notice").split())
    records = [json.loads(line) for line in ran.stdout.splitlines()]
    records.sort(key=lambda record: (record["partition"], record["offset"]))
    for record in records:
        record["event"] = json.loads(record["value"])
    return [record for record in records if record["event"]["id"] in ours]


def expect_order(world: World, records: list[Told]) -> int:
    """None is left out, and the first copies of an account's are in order; counts the repeats."""
    numbers: dict[str, list[int]] = defaultdict(list)
    partitions: dict[str, set[int]] = defaultdict(set)
    repeats = 0
    for record in records:
        account, number = record["event"]["data"]["account"], record["event"]["data"]["n"]
        partitions[account].add(record["partition"])
        if number in numbers[account]:
            repeats += 1
        else:
            numbers[account].append(number)
    wanted: dict[str, list[int]] = defaultdict(list)
    for line in world.psql("SELECT account, data->>'n' FROM notice ORDER BY id").splitlines():
        account, number = line.split("|")
        wanted[account].append(int(number))
    expect_same(dict(wanted), dict(numbers), "the numbers of each account's notices")
    for account, where in partitions.items():
        expect_same(1, len(where), f"number of partitions of {account}")
    return repeats


@test("notices reach the topic as CloudEvents, keyed by account, in order per account", kafka=BOTH)
def notices_in_order(world: World) -> None:
    broker = Broker(world)
    make_topic(broker)
    write(world, 0, 2000)
    with running(world, broker):
        for piece in range(5):
            write(world, 2000 + 100 * piece, 100)
        all_published(world)
    records = topic(world, broker)
    expect_same(0, expect_order(world, records), "repeats")
    for record in records[:50]:
        event = record["event"]
        expect_same("application/cloudevents+json", record["headers"]["content-type"], "the header")
        expect_same(event["data"]["account"], record["key"], "the key")
        members = ["data", "datacontenttype", "id", "source", "specversion", "subject", "time", "type"]
        expect_same(members, sorted(event), "the members")
        expect_same(
            ("1.0", "/tally", "tally.test", f"vm-{event['data']['n']}", "application/json"),
            tuple(event[m] for m in ("specversion", "source", "type", "subject", "datacontenttype")),
            "what they say",
        )
        datetime.fromisoformat(event["time"].replace("Z", "+00:00"))


@test("relays that are killed lose no notice and change no order, whatever is told twice",
      seconds=120, kafka=BOTH)
def notices_relay_killed(world: World) -> None:
    broker, random = Broker(world), world.random
    make_topic(broker)
    written = 0
    for _ in range(12):
        process = collector(world, broker)
        deadline = time.monotonic() + random.uniform(0.3, 1.2)
        while time.monotonic() < deadline:
            count = random.choice([1, 10, 100, 300])  # the mock broker keeps 5 MiB of a partition
            write(world, written, count)
            written += count
        kill(process)
    with running(world, broker):
        all_published(world)
    expect_order(world, topic(world, broker))
    expect_same(written, int(world.psql("SELECT count(*) FROM notice")), "notices in the outbox")


@test("of three collectors one publishes; when it dies, another goes on", kafka=("mock",))
def notices_one_relay(world: World) -> None:
    broker = Broker(world)
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(running(world, broker, f"collector{n}")) for n in range(2)
        ]
        written = 0
        for _ in range(20):
            write(world, written, 50)
            written += 50
            time.sleep(0.05)
        all_published(world)
        locks = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database" \
            " WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()"
        expect_same("2", world.psql(locks), "locks that are held: a relay and a watch")
        expect_same(0, expect_order(world, topic(world, broker)), "repeats")
        processes.append(stack.enter_context(running(world, broker, "collector2")))
        for process in processes[:2]:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        write(world, written, 50)
        all_published(world)
    expect_order(world, topic(world, broker))


@test("a broker that is away for a while costs no notice; trouble and its end are told once",
      seconds=120, kafka=("mock",))
def notices_broker_away(world: World) -> None:
    broker = Broker(world)
    with running(world, broker):
        write(world, 0, 100)
        all_published(world)
        tell_mock(broker, "down")
        for piece in range(5):
            write(world, 100 + 100 * piece, 100)
            time.sleep(0.2)
        until(lambda: "notices wait" in log_of(world) or "acknowledged" in log_of(world),
              "the log tells of the trouble", 30)
        time.sleep(3)
        expect_same(500, unpublished(world), "notices that wait")
        tell_mock(broker, "up")
        all_published(world)
        until(lambda: "notices are published again" in log_of(world), "the log tells of its end")
    expect_order(world, topic(world, broker))
    expect_same(1, log_of(world).count("notices are published again"), "times that the end is told")


@test("a topic that does not exist is named, and when it is there the notices go out",
      seconds=150, kafka=("mock",))
def notices_no_topic(world: World) -> None:
    broker = Broker(world)
    tell_mock(broker, f"topic {TOPIC} 4")
    tell_mock(broker, f"topic-error {TOPIC} 3")
    write(world, 0, 10)
    with running(world, broker):
        until(lambda: f"'{TOPIC}' does not exist" in log_of(world), "the log names the topic", 60)
        expect_same(10, unpublished(world), "notices that wait")
        tell_mock(broker, f"topic-error {TOPIC} 0")
        all_published(world, 90)
    expect_order(world, topic(world, broker))


@test("a database that is restarted costs no notice", seconds=120, kafka=("mock",))
def notices_database_away(world: World) -> None:
    world.own_postgres()
    broker = Broker(world)
    try:
        with running(world, broker):
            write(world, 0, 100)
            all_published(world)
            world.postgres.stop(signal.SIGQUIT)
            time.sleep(1)
            world.postgres.start()
            write(world, 100, 100)
            all_published(world)
        expect_order(world, topic(world, broker))
    finally:
        world.postgres.stop()


# ---- what is told ----


def told(world: World) -> list[tuple[str, str, str, Any]]:
    rows = world.psql("SELECT type, account, subject, data FROM notice ORDER BY id").splitlines()
    return [tuple(row.split("|", 3)[:3]) + (json.loads(row.split("|", 3)[3]),) for row in rows]


def credit_steps(world: World, account: str = "acme") -> list[Any]:
    return [
        data.get("percent", "exhausted") for type, of, _, data in told(world)
        if of == account and type.startswith("tally.credits")
    ]


def event(id: str, type: str, at: datetime, **data: Any) -> bytes:
    return json.dumps({
        "specversion": "1.0", "id": id, "source": "/t", "type": type, "subject": "v",
        "time": at.isoformat(timespec="microseconds"), "data": {"account": "acme"} | data,
    }).encode()


def account(included: int, **more: Any) -> dict[str, Any]:
    terms = {"base_fee": "0.00", "included_credits": included}
    subscription = {"plan": "scale", "from": "2020-01-01", "overrides": terms | more}
    return {"accounts": [{"id": "acme", "name": "A", "subscriptions": [subscription]}]}


def clock(world: World) -> datetime:
    """The database's, well within a month."""
    now = datetime.now(timezone.utc)
    if (now - timedelta(hours=1)).month != now.month or (now + timedelta(minutes=5)).month != now.month:
        raise Skipped("a month is beginning or ending just now")
    return now


@test("50, 80 and 100 % of an allowance are told once each, and that it is used up", seconds=120,
      kafka=("mock",))
def notices_thresholds(world: World) -> None:
    broker, now = Broker(world), clock(world)
    apply(world, account(32))  # 6 minutes of xlarge
    start = now - timedelta(minutes=30)

    def use(minutes: int, file: str) -> None:
        """A further run, and a collector, which looks when it begins."""
        begin = start + timedelta(minutes=minutes)
        lines = [
            event(f"{file}-1", "vm.started", begin, size="xlarge"),
            event(f"{file}-2", "vm.stopped", begin + timedelta(seconds=50)),
        ]
        world.tally("meter", "--file", world.write(file, lines))

    def look(steps: list[Any]) -> None:
        with running(world, broker):
            rated = "SELECT count(*) FROM watched JOIN quota USING (account, version)"
            until(lambda: world.psql(rated) == "1", "the watch has looked", 30)
            all_published(world)
        expect_same(steps, credit_steps(world), "what was told")

    for minute in range(2):
        use(minute, f"a{minute}")
    look([])
    use(2, "b")
    look([50])
    look([50])
    use(3, "c")
    use(4, "d")
    look([50, 80])
    use(5, "e")
    look([50, 80, 100, "exhausted"])
    use(6, "f")
    look([50, 80, 100, "exhausted"])
    last = told(world)[-1]
    period = now.strftime("%Y-%m")
    expect_same(
        {"account": "acme", "period": period, "used": "32.0000", "remaining": "0.0000",
         "overage": "bill"},
        {name: value for name, value in last[3].items() if name != "run_out_at"}, "the last one",
    )
    expect_same({record["event"]["type"] for record in topic(world, broker)},
                {"tally.credits.threshold", "tally.credits.exhausted"}, "types on the topic")


@test("a threshold that time alone passes, without any event, is told within about a minute",
      seconds=180, kafka=("mock",))
def notices_by_time(world: World) -> None:
    broker, now = Broker(world), clock(world)
    apply(world, account(64))  # 12 minutes of xlarge: half of them end in a moment
    start = now - timedelta(minutes=4, seconds=15)  # the sixth minute begins in 45 s
    world.tally("meter", "--file",
                world.write("start", [event("1", "vm.started", start, size="xlarge")]))
    with running(world, broker):
        until(lambda: world.psql("SELECT count(*) FROM watched") == "1", "the watch has looked")
        expect_same([], credit_steps(world), "what was told at once")
        until(lambda: credit_steps(world) == [50], "half is told", 100)
        all_published(world)


@test("a run that is longer than its plan allows is told of once", seconds=60, kafka=("mock",))
def notices_session(world: World) -> None:
    broker, now = Broker(world), clock(world)
    apply(world, account(100000, max_session_minutes=10))
    start = now - timedelta(minutes=11)
    world.tally("meter", "--file",
                world.write("start", [event("1", "vm.started", start, size="nano", run="r-1")]))
    for _ in range(2):
        with running(world, broker):
            until(lambda: world.psql("SELECT count(*) FROM noticed") == "1", "the watch has looked")
            time.sleep(1)
    [(type, of, subject, data)] = [row for row in told(world) if row[0] == "tally.session.limit"]
    expect_same(("acme", "v", "r-1", "nano", 10),
                (of, subject, data["run"], data["size"], data["max_session_minutes"]), type)


@test("every invoice that is issued is told, in the closing's transaction, with its place in the chain")
def notices_invoices(world: World) -> None:
    accounts = {"accounts": [
        {"id": f"a{n}", "name": "A", "subscriptions": [{"plan": "scale", "from": "2026-01-01"}]}
        for n in range(5)
    ]}
    apply(world, accounts)
    for _ in range(2):  # the second time nothing is issued
        world.tally("invoices", "close", "--period", "2026-09", "--as-of", "2026-10-02")
    issued = world.json("invoices", "list", "--period", "2026-09")
    expected = [
        ("tally.invoice.issued", i["account"], i["number"],
         {"account": i["account"], "number": i["number"], "period": "2026-09", "total": i["total"],
          "currency": "USD", "hash": i["hash"], "place": place})
        for place, i in enumerate(issued, 1)
    ]
    expect_same(5, len(issued), "invoices")
    expect_same(expected, told(world), "notices")
    head = world.psql("SELECT place || '|' || encode(hash, 'hex') FROM chain")
    expect_same(head, f"{told(world)[-1][3]['place']}|{told(world)[-1][3]['hash']}", "the head")


# ---- the collector's metrics ----


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def scrape(port: int) -> dict[str, float]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return {}
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


@test("a collector's /metrics shows events, dead letters, lag, batches and what runs", kafka=("mock",))
def meter_metrics(world: World) -> None:
    broker, now, port = Broker(world), datetime.now(timezone.utc), free_port()
    apply(world, account(100))
    lines = [event("1", "vm.started", now - timedelta(minutes=5), size="nano")]
    lines += [event("1", "vm.started", now - timedelta(minutes=5), size="nano"), b"{"]
    lines += [event("2", "vm.created", now)]
    log = open(world.folder / "collector.log", "ab")
    process = world.start("meter", *broker.flags, "--metrics-listen", f"127.0.0.1:{port}",
                          stdout=log, stderr=log)
    try:
        until(lambda: f'tally_partition_lag_records{{topic="{broker.topic}",partition="3"}}'
              in scrape(port), "the lag of the last partition is shown", 30)
        broker.produce([record(line, partition=2) for line in lines])
        counted = {
            'tally_events_total{type="vm.started",outcome="metered"}': 1,
            'tally_events_total{type="any",outcome="repeated"}': 1,
            'tally_events_total{type="any",outcome="not_metered"}': 1,
            'tally_events_total{type="any",outcome="dead_letter"}': 1,
            'tally_dead_letters_total{reason="malformed"}': 1,
            'tally_vms_running': 1,
        }
        until(lambda: counted.items() <= scrape(port).items(), f"these are shown: {counted}", 30)
        shown = scrape(port)
        expect(shown["tally_batch_messages_sum"] >= 4, f"messages of batches: {shown}")
        expect(shown["tally_batch_seconds_count"] >= 1, f"batches: {shown}")
        expect(0 <= shown["tally_progress_behind_seconds"] < 60, f"progress: {shown}")
        expect_same(0, sum(value for name, value in shown.items()
                           if name.startswith("tally_partition_lag")), "lag in the end")
        second = world.tally("meter", *broker.flags, "--metrics-listen", f"127.0.0.1:{port}", exit=1)
        expect("--metrics-listen" in second.stderr, f"what is said of a port that is taken: {second}")
    finally:
        process.send_signal(signal.SIGTERM)
        expect_same(0, process.wait(30), f"exit after SIGTERM:\n{log_of(world)}")
    for wrong in ("8482", "127.0.0.1:x", ":1", "127.0.0.1:65536"):
        world.tally("meter", *broker.flags, "--metrics-listen", wrong, exit=2)
