#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Committed events/s of one collector, from a file and from Kafka, over bare COPY of the same events.

The bare side is what PostgreSQL can do at best: COPY of the same columns, in the order of arrival and in as
many rows a transaction, into one table with a primary key on (account, vm, at, id). Two fleets: one
with heartbeats, as fleets are; and one without, in which every event starts or ends a run, the most that
an event can cause. Also the collector's peak memory with many VMs running at once (--running).
"""
import argparse
import json
import os
import resource
import subprocess
import tempfile

import measure

FLEETS = {
    "with heartbeats": ["--vms", "5000", "--heartbeats", "300"],
    "starts and stops only": ["--vms", "100000", "--heartbeats", "0"],
}
WIPE = "TRUNCATE event, vm, run, usage_day, position, dead_letter"


def simulate(binary: str, options: list[str], events: int) -> list[str]:
    return [binary, "simulate", "--seed", "3", "--accounts", "200", "--from", "2026-10-01", "--to", "2026-11-01",
            "--count", str(events), *options]


def prepare(folder: str, binary: str) -> None:
    measure.tally(binary, "migrate")
    path = os.path.join(folder, "accounts.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(measure.accounts(200), out)
    measure.tally(binary, "accounts", "apply", path)
    measure.psql("CREATE TABLE bare (LIKE event)", "ALTER TABLE bare ADD PRIMARY KEY (account, vm, at, id)")


def meter_file(binary: str, file: str) -> float:
    measure.psql(WIPE, "CHECKPOINT")
    return measure.metered_seconds(measure.tally(binary, "meter", "--file", file).stderr)


def meter_topic(binary: str, group: str) -> float:
    measure.psql(WIPE, "CHECKPOINT")
    done = measure.tally(binary, "meter", "--until-caught-up", "--linger-ms", "1000", "--group", group)
    return measure.metered_seconds(done.stderr)


def bare_copy(files: list[str], folder: str) -> float:
    measure.psql("TRUNCATE bare", "CHECKPOINT")
    return measure.copy_in([("bare", file) for file in files], folder)


def bench_fleet(name: str, options: list[str], args: argparse.Namespace, folder: str) -> list[dict]:
    events = os.path.join(folder, "events.ndjson")
    with open(events, "w", encoding="utf-8") as out:
        subprocess.run(simulate(args.binary, options, args.events), stdout=out, check=True)
    kafka = bool(os.environ.get("TALLY_KAFKA_BROKERS"))
    if kafka:
        os.environ["TALLY_TOPIC"] = f"bench.{name.split()[0]}"  # ./dev bench made it
        subprocess.run([*simulate(args.binary, options, args.events), "--to-kafka"], check=True)
    meter_file(args.binary, events)
    query = f"SELECT {measure.EVENT_COLUMNS} FROM event ORDER BY origin, position"
    files = measure.copy_out(query, os.path.join(folder, "bare.tsv"))
    from_file, from_kafka, bare = [], [], []
    for round_number in range(args.rounds):
        bare.append(args.events / bare_copy(files, folder))
        from_file.append(args.events / meter_file(args.binary, events))
        if kafka:
            from_kafka.append(args.events / meter_topic(args.binary, f"bench.{os.getpid()}.{round_number}"))
    results = [measure.report(f"file, {name}", from_file, bare, 0.5, "events/s")]
    if kafka:
        results.append(measure.report(f"Kafka, {name}", from_kafka, bare, 0.5, "events/s"))
    return results


def bench_running(args: argparse.Namespace, folder: str) -> dict:
    """Peak memory with as many VMs running at once."""
    events = os.path.join(folder, "running.ndjson")
    with open(events, "w", encoding="utf-8") as out:
        for n in range(args.running):
            out.write(f'{{"specversion":"1.0","id":"s{n}","source":"/bench","type":"vm.started",'
                      f'"subject":"vm{n:08d}","time":"2026-10-01T00:00:00Z",'
                      f'"data":{{"account":"acct-{n % 200 + 1:03d}","size":"nano"}}}}\n')
    measure.psql(WIPE)
    measure.tally(args.binary, "meter", "--file", events)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"  {'peak memory':<34} {peak:>10,.0f} MB with {args.running:,} VMs running, aim under 512", flush=True)
    return {"name": "peak memory", "mb": round(peak), "running": args.running, "aim": 512}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="build/tally")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--running", type=int, default=1_000_000)
    parser.add_argument("--json", default="build/bench-meter.json")
    args = parser.parse_args()
    measure.check_durable()
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder, args.binary)
        results = []
        for name, options in FLEETS.items():
            results += bench_fleet(name, options, args, folder)
        results.append(bench_running(args, folder))
    measure.write_results(args.json, results)


if __name__ == "__main__":
    main()
