#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Committed reservations/s and their latency, over what the same machine can do at best.

(a) Reservations at 64 keep-alive connections, each of a new VM, spread over 200 accounts without a limit (and
    once more all of one account), over the same server answering a constant from memory (GET /healthz), asked
    by the same tool on as many connections.
(b) The same reservations over pgbench doing one durable single-row UPDATE a transaction with 16 clients
    (prepared, a table of 200 rows).
(c) The 99th percentile of a reservation at a moderate rate, while a collector meters a file of the same
    accounts at full speed, over that without. As where a collector catches up with Kafka, progress is behind:
    nothing is lost or lapses meanwhile.

CPU per request is what the server's and PostgreSQL's processes used in that time, by /proc.
"""
import argparse
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import measure

ACCOUNTS = 200
CONNECTIONS = 64
WIPE = ("TRUNCATE event, vm, run, usage_day, position, dead_letter, reservation, uncounted, doubt",
        "UPDATE quota SET running = 0, reserved = 0, look_at = NULL, exceeded = false",
        "VACUUM quota", "CHECKPOINT")
UPDATE = "\\set id random(1, 200)\nUPDATE bare_update SET n = n + 1 WHERE id = :id;\n"
TICK = os.sysconf("SC_CLK_TCK")


# ---- the server ----
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(binary: str, folder: str):
    port = free_port()
    with open(os.path.join(folder, "serve.log"), "w", encoding="utf-8") as log:
        process = subprocess.Popen([binary, "serve", "--listen", f"127.0.0.1:{port}",
                                    "--metrics-listen", f"127.0.0.1:{free_port()}"], stdout=log, stderr=log)
    try:
        wait_until_ready(port, process, log.name)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(port: int, process: subprocess.Popen, log: str) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    with open(log, encoding="utf-8") as lines:
        sys.exit(f"tally serve is not ready:\n{lines.read()}")


# ---- CPU ----
def stat(pid: str) -> tuple[str, int, int] | None:
    """A process's parent, its own ticks, and those of children that have ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as line:
        fields = line.read().rpartition(")")[2].split()
        return fields[1], int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return None


class Cpu:
    """What the server and PostgreSQL (where it runs on this machine) have used, in microseconds."""

    def __init__(self, server_pid: int) -> None:
        self.server_pid = str(server_pid)
        # A backend's parent is the postmaster: ask one for its own parent.
        backend = measure.psql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").strip()
        found = stat(backend) if backend else None
        self.postmaster = found[0] if found else ""
        self.begun = self.now()

    def now(self) -> tuple[int, int]:
        own = stat(self.server_pid)
        ticks = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            found = stat(pid)
            if found and pid == self.postmaster:
                ticks += found[1] + found[2]
            elif found and self.postmaster and found[0] == self.postmaster:
                ticks += found[1]
        return (own[1] if own else 0) * 1_000_000 // TICK, ticks * 1_000_000 // TICK

    def per_request(self, requests: int) -> dict:
        now = self.now()
        return {"server_us": (now[0] - self.begun[0]) // requests, "postgres_us": (now[1] - self.begun[1]) // requests}


# ---- loads ----
class Bench:
    def __init__(self, args: argparse.Namespace, folder: str, port: int, pid: int, token: str) -> None:
        self.args, self.folder, self.port, self.pid, self.token = args, folder, port, pid, token
        self.next = 0

    def load(self, *options: str, seconds: int | None = None, status: str = "201") -> dict:
        cpu = Cpu(self.pid)
        done = subprocess.run([self.args.load, "--port", str(self.port), "--connections", str(CONNECTIONS),
                               "--seconds", str(seconds or self.args.seconds), "--warmup", "1", *options],
                              capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{self.args.load}: {done.stderr}")
        result = json.loads(done.stdout)
        if set(result["statuses"]) != {status}:
            sys.exit(f"not all were answered {status}: {result['statuses']}")
        result |= cpu.per_request(result["next"] - self.next)
        return result

    def constant(self) -> dict:
        return self.load("--path", "/healthz", "--first", str(self.next), status="200")

    def reserve(self, account: str, *options: str, seconds: int | None = None) -> dict:
        body = f'{{"account":"{account}","vm":"v{{n}}","size":"nano"}}'
        result = self.load("--method", "POST", "--path", "/v1/quota/reservations", "--token", self.token,
                           "--body", body, "--first", str(self.next), *options, seconds=seconds)
        self.next = result["next"]
        return result

    def pgbench(self) -> float:
        script = os.path.join(self.folder, "update.sql")
        with open(script, "w", encoding="utf-8") as out:
            out.write(UPDATE)
        done = subprocess.run(["pgbench", "-n", "-M", "prepared", "-c", "16", "-j", "1", "-T",
                               str(self.args.seconds), "-f", script, os.environ["TALLY_DATABASE_URL"]],
                              capture_output=True, text=True)
        found = re.search(r"tps = ([0-9.]+)", done.stdout)
        if done.returncode != 0 or not found:
            sys.exit(f"pgbench: {done.stdout}{done.stderr}")
        return float(found[1])

    def reserve_beside_collector(self, events: str) -> dict:
        rate = ("--rate", str(self.args.rate))
        measure.psql("INSERT INTO position (topic, partition, next_offset) VALUES ('behind', 0, 0) ON CONFLICT DO NOTHING")
        with subprocess.Popen([self.args.binary, "meter", "--file", events], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as collector:
            try:
                time.sleep(1)
                result = self.reserve("acct-{n%200}", *rate)
                result["collector_ended_early"] = collector.poll() is not None
            finally:
                collector.terminate()
        if result["collector_ended_early"]:
            sys.exit("the collector was done before the measurement: more --events are needed")
        return result


# ---- what is measured on ----
def prepare(binary: str, folder: str) -> None:
    measure.tally(binary, "migrate")
    path = os.path.join(folder, "accounts.json")
    accounts = measure.accounts(ACCOUNTS)
    for account in accounts["accounts"]:
        account["subscriptions"][0]["overrides"] = {"concurrency_limit": None}
    with open(path, "w", encoding="utf-8") as out:
        json.dump(accounts, out)
    measure.tally(binary, "accounts", "apply", path)
    measure.psql("CREATE TABLE IF NOT EXISTS bare_update (id integer PRIMARY KEY, n bigint NOT NULL)",
                 "TRUNCATE bare_update", "INSERT INTO bare_update SELECT n, 0 FROM generate_series(1, 200) AS n",
                 "VACUUM ANALYZE bare_update")


def simulate(binary: str, events: int, path: str) -> None:
    with open(path, "w", encoding="utf-8") as out:
        subprocess.run([binary, "simulate", "--seed", "3", "--accounts", str(ACCOUNTS), "--from", "2026-10-01", "--to",
                        "2026-11-01", "--count", str(events), "--vms", "5000", "--heartbeats", "300"],
                       stdout=out, check=True)


# ---- figures ----
def show(name: str, rows: list[dict]) -> None:
    def middle(key: str) -> float:
        return statistics.median(row[key] for row in rows)
    print(f"  {name:<34} {middle('rate'):>9,.0f}/s   p50 {middle('p50_us') / 1000:.2f} ms  p99 "
          f"{middle('p99_us') / 1000:.2f} ms   CPU/request: server {middle('server_us'):.0f} us, PostgreSQL "
          f"{middle('postgres_us'):.0f} us   (load generator: {middle('cpu_us') / middle('us') * 100:.0f} % of a core)",
          flush=True)


def ratio(name: str, ours: list[float], theirs: list[float], aim: float) -> dict:
    value = statistics.median(ours) / statistics.median(theirs)
    spread = [a / b for a, b in zip(ours, theirs)]
    print(f"  {name:<62} ratio {value:.2f} ({min(spread):.2f}-{max(spread):.2f}), aim {aim}", flush=True)
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": round(value, 3), "aim": aim}


def of(rows: list[dict], key: str) -> list[float]:
    return [row[key] for row in rows]


def measure_all(bench: Bench) -> list[dict]:
    constant, many, one, bare, quiet, busy = [], [], [], [], [], []
    for _ in range(bench.args.rounds):
        constant.append(bench.constant())
        for account, rows in (("acct-{n%200}", many), ("acct-001", one)):
            measure.psql(*WIPE)
            rows.append(bench.reserve(account))
        bare.append(bench.pgbench())
    print(f"  {'pgbench, 16 clients':<34} {statistics.median(bare):>9,.0f}/s", flush=True)
    for name, rows in (("constant from memory", constant), ("reservations, 200 accounts", many),
                       ("reservations, one account", one)):
        show(name, rows)
    results = [ratio("(a) reservations over a constant", of(many, "rate"), of(constant, "rate"), 0.9),
               ratio("(a) of one account", of(one, "rate"), of(constant, "rate"), 0.9),
               ratio("(b) reservations over durable updates", of(many, "rate"), bare, 2.5),
               ratio("(b) of one account", of(one, "rate"), bare, 2.5)]
    events = os.path.join(bench.folder, "events.ndjson")
    simulate(bench.args.binary, bench.args.events, events)
    for _ in range(bench.args.rounds):
        measure.psql(*WIPE)
        quiet.append(bench.reserve("acct-{n%200}", "--rate", str(bench.args.rate)))
        measure.psql(*WIPE)
        busy.append(bench.reserve_beside_collector(events))
    show(f"{bench.args.rate}/s, quiet", quiet)
    show(f"{bench.args.rate}/s, beside a collector", busy)
    results.append(ratio("(c) p99 beside a collector at full speed", of(busy, "p99_us"), of(quiet, "p99_us"), 2))
    return results + [{"name": "rows", "constant": constant, "many": many, "one": one, "pgbench": bare,
                       "quiet": quiet, "busy": busy}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="build/tally")
    parser.add_argument("--load", default="build/tests/tool_load", help="the load generator")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=500, help="reservations/s of (c)")
    parser.add_argument("--events", type=int, default=1_500_000, help="that the collector of (c) meters")
    parser.add_argument("--json", default="build/bench-quota.json")
    args = parser.parse_args()
    measure.check_durable()
    with tempfile.TemporaryDirectory() as folder:
        prepare(args.binary, folder)
        token = measure.tally(args.binary, "tokens", "create", "--role", "orchestrator").stdout.split()[-1]
        with server(args.binary, folder) as (port, pid):
            results = measure_all(Bench(args, folder, port, pid, token))
    measure.write_results(args.json, results)


if __name__ == "__main__":
    main()
