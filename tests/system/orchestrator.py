# SPDX-License-Identifier: Apache-2.0
"""Orchestrators for the tests: they ask before they start, retry as the together-sandbox SDK does,
and keep count of the machines that really run."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import queue
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

from broker import Broker, record
from harness import Failed, World, expect, expect_same, until
from histories import iso
from serving import Client, Reply, Server, reservation_path, serve, token

CONNECTION_ERRORS = (OSError, http.client.HTTPException)


def now() -> int:
    """The clock, in microseconds since 1970."""
    return time.time_ns() // 1000


def instant(text: str) -> int:
    """An instant of an answer, in microseconds since 1970."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6)


# ---- events ----

_ids = itertools.count()


def event(kind: str, account: str, vm: str, at: int | None = None, **data: Any) -> bytes:
    """One event, by default of this moment; a start is of a nano where nothing else is said."""
    if kind in ("started", "resized") and "millicpu" not in data:
        data.setdefault("size", "nano")
    fields = {
        "specversion": "1.0",
        "id": data.pop("event_id", None) or f"e{os.getpid()}-{next(_ids)}",
        "source": "/orchestrator",
        "type": f"vm.{kind}",
        "subject": vm,
        "time": iso(now() if at is None else at),
        "data": {"account": account} | data,
    }
    return json.dumps(fields).encode()


# ---- asking ----


class Front:
    """Some `tally serve` processes on one database; any of them may be killed and started anew."""

    def __init__(self, world: World, count: int, *options: Any) -> None:
        self.world, self.options = world, options
        self.token = token(world, "orchestrator")
        self.servers: list[Server] = [serve(world, *options) for _ in range(count)]

    def urls(self) -> list[str]:
        return [server.url for server in self.servers]

    def replace(self, n: int) -> None:
        """Kills one, and starts another in its place."""
        self.servers[n].kill()
        self.servers[n] = serve(self.world, *self.options, ready=False)

    def __enter__(self) -> Front:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        for server in self.servers:
            if kind is not None:
                server.kill()
                continue
            server.check()
            expect_same(0, server.stop(), f"exit of tally serve after SIGTERM\n{server.end()}")


class Orchestrator:
    """One thread's client of a Front. Retries as the SDK does: on 408, 429, 5xx and connection
    errors; three tries, after 0.5 s, then 1 s, with jitter; honours Retry-After."""

    TRIES = 3
    PAUSE_S = 0.5
    RETRY_AFTER_MAX_S = 60

    def __init__(self, front: Front, random: Random) -> None:
        self.front, self.random = front, random
        self.clients: dict[str, Client] = {}
        self.statuses: Counter[int] = Counter()

    def once(self, method: str, path: str, body: Any = None, query: Any = None) -> Reply:
        """One try, at any of the servers. CONNECTION_ERRORS are the caller's."""
        url = self.random.choice(self.front.urls())
        if url not in self.clients:
            self.clients[url] = Client(url, self.front.token)
        reply = self.clients[url].request(method, path, body, query=query)
        self.statuses[reply.status] += 1
        return reply

    def ask(self, method: str, path: str, body: Any = None, query: Any = None) -> Reply:
        """What the last try came to; Failed where no try got an answer."""
        for attempt in range(self.TRIES):
            last = attempt == self.TRIES - 1
            after = 0.0
            try:
                reply = self.once(method, path, body, query)
                again = reply.status in (408, 429) or reply.status >= 500
                if not again or last:
                    return reply
                after = float(reply.headers.get("retry-after", 0))
            except CONNECTION_ERRORS as error:
                if last:
                    raise Failed(f"{method} {path}: no answer in {self.TRIES} tries: {error!r}")
            pause = self.PAUSE_S * 2**attempt * self.random.uniform(0.75, 1)
            time.sleep(after if 0 < after <= self.RETRY_AFTER_MAX_S else pause)
        raise AssertionError("unreachable")

    def insist(self, method: str, path: str, body: Any = None, query: Any = None,
               seconds: float = 40) -> tuple[Reply, bool]:
        """Until there is an answer other than 5xx; and whether a try's outcome is unknown."""
        deadline, unknown = time.monotonic() + seconds, False
        while True:
            problem: Any
            try:
                reply = self.once(method, path, body, query)
                if reply.status < 500:
                    return reply, unknown
                # A 503 after the commit was sent may have been done: as after a lost connection.
                problem, unknown = reply, True
            except CONNECTION_ERRORS as error:
                problem, unknown = repr(error), True
            told = f"{method} {path}: in vain for {seconds} s: {problem}"
            expect(time.monotonic() < deadline, told)
            time.sleep(self.random.uniform(0.02, 0.1))

    def close(self) -> None:
        for client in self.clients.values():
            client.close()


RESERVATIONS = "/v1/quota/reservations"


def wanted(account: str, vm: str, size: str = "nano") -> dict[str, str]:
    return {"account": account, "vm": vm, "size": size}


# ---- events to Kafka ----


class Producer:
    """Sends events in the order of its calls, and waits until the broker has acknowledged them."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.lines: list[bytes] = []
        self.slowest = 0.0
        self.cut_until = 0.0  # the broker is out of reach until then, by the monotonic clock
        self.waiting: queue.Queue[tuple[dict[str, Any], threading.Event] | None] = queue.Queue()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def send(self, line: bytes, key: str) -> None:
        acknowledged = threading.Event()
        began = time.monotonic()
        self.lines.append(line)
        self.waiting.put((record(line, key), acknowledged))
        expect(acknowledged.wait(120), "an event was not acknowledged within two minutes")
        self.slowest = max(self.slowest, time.monotonic() - began)

    def stop(self) -> None:
        self.waiting.put(None)
        self.thread.join()

    def _run(self) -> None:
        while (first := self.waiting.get()) is not None:
            batch = [first]
            while time.monotonic() < self.cut_until:
                time.sleep(0.02)
            while not self.waiting.empty():
                more = self.waiting.get()
                if more is None:
                    self.waiting.put(None)
                    break
                batch.append(more)
            self._produce([written for written, _ in batch])
            for _, acknowledged in batch:
                acknowledged.set()

    def _produce(self, records: list[dict[str, Any]]) -> None:
        """Again and again, as a producer does: what comes twice counts once."""
        tool = self.broker.world.tools / "tool_produce"
        command = [tool, "--brokers", self.broker.brokers, "--topic", self.broker.topic]
        lines = "".join(json.dumps(written) + "\n" for written in records).encode()
        while True:
            ran = subprocess.run(
                [*command, "--kafka-option", "linger.ms=0"], input=lines, capture_output=True,
            )
            if ran.returncode == 0:
                return
            time.sleep(0.2)


def mock(broker: Broker, command: str) -> None:
    """A command to the broker in memory: `down`, `up`, ..."""
    broker.mock.stdin.write(f"{command}\n".encode())
    broker.mock.stdin.flush()
    expect_same(b"ok", broker.mock.stdout.readline().strip(), f"tool_mock's answer to {command}")


# ---- a fleet ----


class Fleet:
    """Machines of one account that start, beat, hibernate and resume by the rules: (a) after a
    reservation, (b) before it expires, (c) acknowledged within the event delay; (d) given back only
    where the VM did not start. `running` are those that really run, and `most` how many there were
    at once: whatever the database believes."""

    def __init__(self, front: Front, producer: Producer, account: str, limit: int, *,
                 vms: int = 24, threads: int = 8, event_delay_s: float = 60, seed: int = 0,
                 vouching: float = 0.5, pause_s: float = 0.2) -> None:
        self.front, self.producer = front, producer
        self.account, self.limit = account, limit
        self.event_delay_s, self.vouching, self.pause_s = event_delay_s, vouching, pause_s
        self.lock = threading.Lock()
        self.running: set[str] = set()
        # Half of the slots may be held by machines that run on, much longer than anything lapses.
        self.staying: dict[str, float] = {}
        self.most = 0
        self.late = 0  # starts that were acknowledged too late: ours, not the product's
        self.did: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self.ending = False
        self.starting = True  # else it only reserves, and gives back
        names = [f"{account}-vm-{n:03}" for n in range(vms)]
        self.threads = [
            threading.Thread(target=self._work, args=(names[n::threads], Random(f"{seed} {n}")),
                             daemon=True)
            for n in range(threads)
        ]

    def begin(self) -> None:
        for thread in self.threads:
            thread.start()

    def check(self) -> None:
        """Never over the limit, so far."""
        if self.failure is not None:
            raise self.failure
        told = f"most at once {self.most}, limit {self.limit}; {dict(self.did)}"
        expect(self.late == 0, f"this machine is too slow for the event delay: {self.late} starts")
        expect(self.most <= self.limit, f"more machines ran than allowed: {told}")

    def go_on(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            time.sleep(0.1)

    def until_more(self, what: str, count: int, seconds: float = 30) -> None:
        """Until something was done so many times more."""
        goal = self.did[what] + count

        def done() -> bool:
            self.check()
            return self.did[what] >= goal

        until(done, f"{count} more of {what}, after {dict(self.did)}", seconds)

    def end(self) -> None:
        """Ends the threads, and stops all machines."""
        self.ending = True
        for thread in self.threads:
            thread.join()
        self.check()
        for vm in sorted(self.running):
            self._stops(vm, "stopped")

    def _work(self, names: list[str], random: Random) -> None:
        orchestrator = Orchestrator(self.front, random)
        # One orchestrator names its reservations and the next one leaves it to the time.
        names_it = random.random() < 0.5
        try:
            while not self.ending:
                vm = random.choice(names)
                if vm in self.running:
                    self._go_on(orchestrator, random, vm)
                else:
                    self._start(orchestrator, random, vm, names_it)
                time.sleep(random.uniform(0, self.pause_s))
        except BaseException as failure:  # told by check
            self.failure = failure
        finally:
            orchestrator.close()

    def _start(self, orchestrator: Orchestrator, random: Random, vm: str, names_it: bool) -> None:
        reply, _ = orchestrator.insist("POST", RESERVATIONS, wanted(self.account, vm), seconds=90)
        self.did[f"answer {reply.status}"] += 1
        if reply.status == 429:
            return
        expect(reply.status in (200, 201), f"an answer that a fleet should not get: {reply}")
        reserved = reply.json
        time.sleep(random.choice([0, 0, 0.05, 0.3]))
        if not self.starting or random.random() < 0.1:
            if random.random() < 0.6:  # else it is left to expire
                orchestrator.insist("DELETE", reservation_path(self.account, vm),
                                    query={"reservation": reserved["id"]}, seconds=90)
            self.did["abandoned"] += 1
            return
        if now() > instant(reserved["expires_at"]) - 100_000:
            self.did["too late"] += 1
            return
        began = time.monotonic()
        at = now()
        with self.lock:
            self.running.add(vm)
            self.most = max(self.most, len(self.running))
            if len(self.staying) < self.limit // 2:
                self.staying[vm] = time.monotonic() + random.uniform(12, 25)
        named = {"reservation": reserved["id"]} if names_it else {}
        bootup = random.choice(["CLEAN", "FORK", "RESUME"])
        self._send("started", vm, at, bootup=bootup, size=random.choice(["nano", "small"]), **named)
        self.late += time.monotonic() - began > self.event_delay_s
        self.did["started"] += 1

    def _go_on(self, orchestrator: Orchestrator, random: Random, vm: str) -> None:
        choice = random.random()
        if time.monotonic() < self.staying.get(vm, 0) and choice > 0.4:
            return
        if choice < 0.3:
            self._send("heartbeat", vm, now())
        elif choice < 0.4:
            self._send("resized", vm, now(), size=random.choice(["pico", "medium"]))
        else:
            self._stops(vm, random.choice(["hibernated", "stopped"]))
            if random.random() < self.vouching:
                reply, _ = orchestrator.insist("DELETE", reservation_path(self.account, vm),
                                               query={"stopped": "true"}, seconds=90)
                expect(reply.status in (204, 404), f"a vouch: {reply}")
                self.did["vouched"] += 1

    def _stops(self, vm: str, how: str) -> None:
        with self.lock:
            self.running.remove(vm)
            self.staying.pop(vm, None)
        self._send(how, vm, now())
        self.did[how] += 1

    def _send(self, kind: str, vm: str, at: int, **data: Any) -> None:
        self.producer.send(event(kind, self.account, vm, at, **data), vm)


def quiet(front: Front, account: str, seconds: float, random: Random) -> dict[str, Any]:
    """The account's quota when no slot is held any more: none has leaked."""
    orchestrator = Orchestrator(front, random)
    last: dict[str, Any] = {}

    def none_held() -> bool:
        reply, _ = orchestrator.insist("GET", f"/v1/accounts/{account}/quota")
        expect_same(200, reply.status, f"GET quota: {reply}")
        last.update(reply.json)
        return last["in_use"] == 0

    try:
        until(none_held, "no slot is held any more", seconds)
    except Failed as failure:
        raise Failed(f"{failure}: {last}") from None
    finally:
        orchestrator.close()
    return last


# ---- what the tables must say ----

RECOUNT = """
WITH counted AS (
    SELECT v.account, v.vm FROM vm v
    WHERE v.phase = 1
      AND NOT EXISTS (SELECT FROM uncounted u WHERE u.account = v.account AND u.vm = v.vm)
), told AS (
    SELECT q.account, q.running, q.reserved,
           (SELECT count(*) FROM counted c WHERE c.account = q.account) AS run,
           (SELECT count(*) FROM reservation r WHERE r.account = q.account AND NOT EXISTS
              (SELECT FROM counted c WHERE c.account = r.account AND c.vm = r.vm)) AS held
    FROM quota q
)
SELECT account || ': counters ' || running || '+' || reserved
       || ', recounted ' || run || '+' || held
FROM told WHERE (running, reserved) <> (run, held) ORDER BY account"""


def recount(world: World) -> None:
    """The counters of quota are what the tables of VMs and reservations come to."""
    expect_same("", world.psql(RECOUNT), "accounts whose counters differ from a recount")


def beside(work: Callable[[], None], check: Callable[[], None], pause_s: float = 0.2) -> None:
    """Does the work, and checks again and again meanwhile."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        check()
        thread.join(pause_s)
    check()
    if failures:
        raise failures[0]
