# SPDX-License-Identifier: Apache-2.0
"""A database that was restored from an older state issues nothing: the notices on Kafka know what it
has forgotten."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

from billing import apply
from broker import Broker, record
from chain import expect_chain
from harness import World, expect, expect_same, test
from test_notices import BOTH, all_published, running, tell_mock


class Notices(Broker):
    """A broker with a topic of notices of this test's own; the collector's events go elsewhere."""

    def __init__(self, world: World, partitions: int = 4) -> None:
        super().__init__(world, partitions)
        self.events = self.topic
        self.topic = f"notices.{world.folder.name}.{os.getpid()}"
        if self.mock is None:
            self.create()
        else:
            tell_mock(self, f"topic {self.topic} {partitions}")

    @property
    def known(self) -> list[str]:
        return ["--brokers", self.brokers, "--notices-topic", self.topic]

    @property
    def flags(self) -> list[str]:
        group = f"group.{self.world.database}"
        return [*self.known, "--topic", self.events, "--group", group]


def books(world: World, accounts: int = 3) -> None:
    apply(world, {"accounts": [
        {"id": f"a{n}", "name": "A", "subscriptions": [{"plan": "scale", "from": "2026-01-01"}]}
        for n in range(accounts)
    ]})


def close(world: World, broker: Notices | None, period: str, *more: Any, exit: int = 0) -> Any:
    known = broker.known if broker else []
    return world.tally("invoices", "close", "--period", period, "--as-of", "2026-12-31", *known, *more,
                       exit=exit)


def void(world: World, broker: Notices | None, number: str, exit: int = 0) -> Any:
    known = broker.known if broker else []
    return world.tally("invoices", "void", number, "--reason", "r", *known, exit=exit)


def publish(world: World, broker: Notices) -> None:
    with running(world, broker):
        all_published(world)


def dump(world: World, name: str) -> str:
    path = world.folder / name
    subprocess.run([world.postgres.bin / "pg_dump", "-Fc", "-f", path, world.postgres.url(world.database)],
                   check=True)
    return str(path)


def restore(world: World, path: str) -> None:
    """Into a database of its own, which the world then has."""
    name = f"{world.database}_r"
    world.postgres.psql("postgres", f"DROP DATABASE IF EXISTS {name}")
    world.postgres.create(name)
    subprocess.run([world.postgres.bin / "pg_restore", "-d", world.postgres.url(name), path], check=True)
    world.database = name


def state(world: World) -> str:
    """All that issuing changes."""
    tables = ("invoice", "invoice_line", "closing", "series", "chain", "notice", "unsettled")
    return "\n".join(world.psql(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t")
                     for table in tables)


def expect_refused(world: World, broker: Notices, period: str, number: str, *parts: str) -> None:
    """Neither closing nor voiding is done, and these are named."""
    before = state(world)
    for ended in (close(world, broker, period, exit=3), close(world, broker, period, "--force", exit=3),
                  void(world, broker, number, exit=3)):
        for part in parts:
            expect(part in ended.stderr, f"{part} is named: {ended}")
    expect_same(before, state(world), "the books after what was refused")


@test("a database older than what was issued closes and voids nothing; with the newer one all is well",
      seconds=180, kafka=BOTH)
def restored_older(world: World) -> None:
    broker = Notices(world)
    books(world)
    close(world, broker, "2026-08")  # nothing was ever told
    older = dump(world, "older")
    close(world, broker, "2026-09")  # the database is ahead of the topic
    publish(world, broker)
    void(world, broker, "INV-2026-000005")
    publish(world, broker)
    newer = dump(world, "newer")
    first = world.database

    restore(world, older)
    expect_refused(world, broker, "2026-09", "INV-2026-000001",
                   "CN-2026-000001", "place 7", "place 3", "docs/operations.md")
    close(world, broker, "2026-09", "--check")  # only looks
    world.database = first
    restore(world, newer)
    close(world, broker, "2026-10")
    void(world, broker, "INV-2026-000001")
    expect_chain(world)


@test("a database with another history than the one that was told is refused, too", seconds=120, kafka=BOTH)
def restored_other(world: World) -> None:
    broker = Notices(world)
    books(world)
    close(world, broker, "2026-09")
    publish(world, broker)
    theirs = json.loads(world.psql("SELECT data FROM notice WHERE data->>'place' = '3'"))
    world.fresh()
    books(world, accounts=4)
    close(world, None, "2026-10")
    ours = world.json("invoices", "show", "INV-2026-000003")
    expect_refused(world, broker, "2026-11", "INV-2026-000001",
                   "place 3", theirs["hash"], ours["hash"], "--notices-topic")
    close(world, None, "2026-11")  # who is sure goes on without brokers


@test("a broker that is away: nothing is issued, with a clear message, within a few seconds",
      seconds=90, kafka=("mock",))
def restored_broker_away(world: World) -> None:
    broker = Notices(world)
    books(world)
    close(world, broker, "2026-09")
    publish(world, broker)
    before = state(world)
    tell_mock(broker, "down")
    for command in (lambda: close(world, broker, "2026-10", exit=1),
                    lambda: void(world, broker, "INV-2026-000001", exit=1)):
        began = time.monotonic()
        ended = command()
        expect(time.monotonic() - began < 30, f"it took {time.monotonic() - began} s: {ended}")
        for part in ("Kafka", "without brokers"):
            expect(part in ended.stderr, f"{part} in what is said: {ended}")
    expect_same(before, state(world), "the books")
    tell_mock(broker, "up")
    close(world, broker, "2026-10")


@test("a topic that does not exist says nothing against closing", kafka=BOTH)
def restored_no_topic(world: World) -> None:
    broker = Notices(world)
    if broker.mock is None:
        broker.topic += ".none"
    else:
        tell_mock(broker, f"topic-error {broker.topic} 3")
    books(world)
    close(world, broker, "2026-09")
    void(world, broker, "INV-2026-000001")


def told(place: int, at: str, hash: str, **more: Any) -> bytes:
    """A notice as the relay would write it."""
    event = {"specversion": "1.0", "id": f"{place} {at}", "source": "/tally", "type": "tally.invoice.issued",
             "subject": "INV", "time": at,
             "data": {"account": "a", "number": f"INV-2026-{place:06}", "hash": hash, "place": place}}
    return json.dumps(event | more, separators=(",", ":")).encode()


@test("the newest notice is found wherever it stands: behind thousands of others, before older ones"
      " that came again, in any partition", seconds=180, kafka=BOTH)
def restored_found(world: World) -> None:
    broker = Notices(world)
    books(world)
    close(world, broker, "2026-09")
    hashes = [i["hash"] for i in world.json("invoices", "list", "--period", "2026-09")]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    other = json.dumps({"specversion": "1.0", "type": "tally.run.lost", "data": {"place": 9}}).encode()
    nonsense = [b"", b"{", b'{"type":"tally.invoice.issued"}', told(-1, now, hashes[0]),
                told(99, now, "x"), told(99, "yesterday", hashes[0]), told(99, now, hashes[0], type="x")]
    wanted = told(4, now, "ab" * 32)
    again = [told(place, now, hash) for place, hash in enumerate(hashes, 1)]
    # In partition 2: what is looked for, then old ones, then thousands of others.
    records = [record(wanted, partition=2)]
    records += [record(value, partition=p) for p in range(4) for value in again + nonsense]
    records += [record(other, partition=n % 4) for n in range(30000)]
    records += [record(value, partition=p) for p in (0, 3) for value in again]
    broker.produce(records)
    refused = close(world, broker, "2026-10", exit=3)
    expect("INV-2026-000004 at place 4" in refused.stderr, f"the newest notice is named: {refused}")


@test("a long topic is read only as far back as notices may stand that are newer than the newest found",
      kafka=BOTH)
def restored_ends(world: World) -> None:
    broker = Notices(world)
    books(world)
    close(world, broker, "2026-09")
    hashes = [i["hash"] for i in world.json("invoices", "list", "--period", "2026-09")]
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3 * 86400))
    beyond = told(4, later, "ab" * 32)
    # Written three days after all was published: nothing that stands there can be newer.
    found = told(3, later, hashes[2])
    broker.produce([record(value, partition=1) for value in [beyond, *[b"other"] * 5000, found]])
    close(world, broker, "2026-10")
    broker.produce([record(value, partition=1) for value in [beyond, *[b"other"] * 100]])
    close(world, broker, "2026-11", exit=3)
