#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Events/s of `tally audit` over those of streaming the same rows out of PostgreSQL.

The bare side is a COPY to nowhere of the columns that an audit reads of each event, in the order in which they happen
to stand. The audit sorts them by VM and time, folds them into runs, and compares these, the VMs, day totals, slots and
positions. Two fleets: one with heartbeats, as fleets are; and one without, in which every event starts or ends a run.
Also the audit's peak memory, over that with a tenth of the events.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

import measure

FLEETS = {
    "with heartbeats": ["--vms", "5000", "--heartbeats", "300"],
    "starts and stops only": ["--vms", "100000", "--heartbeats", "0"],
}
READ = ("SELECT account, vm, source, id, at, type, bootup, sequence, size, millicpu, memory_bytes, run, target_source,"
        " target_id FROM event")


def prepare(folder: str, binary: str) -> None:
    measure.tally(binary, "migrate")
    path = os.path.join(folder, "accounts.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(measure.accounts(200), out)
    measure.tally(binary, "accounts", "apply", path)


def meter_fleet(binary: str, folder: str, options: list[str], count: int) -> None:
    measure.psql("TRUNCATE event, vm, run, usage_day, position, dead_letter, uncounted")
    measure.tally(binary, "quota", "recount")
    events = os.path.join(folder, "events.ndjson")
    with open(events, "w", encoding="utf-8") as out:
        subprocess.run([binary, "simulate", "--seed", "3", "--accounts", "200", "--from", "2026-10-01",
                        "--to", "2026-11-01", "--count", str(count), *options], stdout=out, check=True)
    measure.tally(binary, "meter", "--file", events)
    measure.psql("VACUUM ANALYZE", "CHECKPOINT")


def seconds_of(work) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def audit(binary: str) -> int:
    """Audits, and returns its peak memory in kB."""
    command = [binary, "audit", "--as-of", "2026-11-02T00:00:00Z"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss


def bench_fleet(name: str, options: list[str], args: argparse.Namespace, folder: str) -> list[dict]:
    meter_fleet(args.binary, folder, options, args.events // 10)
    fewer = audit(args.binary)
    meter_fleet(args.binary, folder, options, args.events)
    more = audit(args.binary)
    ours, bare = [], []
    for _ in range(args.rounds):
        bare.append(args.events / seconds_of(lambda: measure.psql(f"\\copy ({READ}) to '/dev/null'")))
        ours.append(args.events / seconds_of(lambda: audit(args.binary)))
    print(f"  {'peak memory, ' + name:<34} {more / 1024:>10,.0f} MB, {more / fewer:.2f} times that of a tenth of the"
          " events, aim 1.3", flush=True)
    return [measure.report(name, ours, bare, 0.3, "events/s"),
            {"name": f"peak memory, {name}", "mb": round(more / 1024), "ratio": round(more / fewer, 3), "aim": 1.3}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="build/tally")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", default="build/bench-audit.json")
    args = parser.parse_args()
    measure.check_durable()
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder, args.binary)
        results = []
        for name, options in FLEETS.items():
            results += bench_fleet(name, options, args, folder)
    measure.write_results(args.json, results)


if __name__ == "__main__":
    main()
