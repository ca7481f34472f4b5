#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long reads take for an account with 1,000,000 runs, over those for one with 1,000.

GET usage?window=day of a month (by size, as it is by default), and GET runs?limit=100: the first page, and one from
the middle of the month. Both accounts are metered from one file. Requests are made in turns over one connection
each; times are those of whole answers, as a client sees them.
"""
import argparse
import datetime
import http.client
import json
import os
import random
import statistics
import tempfile
import time

import measure
from quota import server

RUNS_A_VM = 50
BIG, SMALL = "big", "small"


def month() -> tuple[datetime.datetime, datetime.datetime]:
    """The last one that has ended."""
    now = datetime.datetime.now(datetime.timezone.utc)
    end = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (end - datetime.timedelta(days=1)).replace(day=1), end


def write_events(path: str, account: str, runs: int, out_mode: str) -> None:
    """Runs of one to five minutes, spread over the month, by VMs that start and stop again and again."""
    begin, end = month()
    span = int((end - begin).total_seconds()) - 600
    draw = random.Random(runs)
    starts = sorted(draw.randrange(span) for _ in range(runs))
    vms = max(1, runs // RUNS_A_VM)
    first = int(begin.timestamp())
    last: dict[int, int] = {}
    with open(path, out_mode, encoding="utf-8") as out:
        for n, start in enumerate(starts):
            vm = n % vms
            start = max(start, last.get(vm, 0))
            length = draw.randrange(30, 300)
            last[vm] = start + length
            for kind, at, more in (("started", start, ',"size":"nano"'), ("stopped", start + length, "")):
                when = datetime.datetime.fromtimestamp(first + at, datetime.timezone.utc)
                out.write(f'{{"specversion":"1.0","id":"{kind[2]}{n}","source":"/bench","type":"vm.{kind}",'
                          f'"subject":"vm{vm:06d}","time":"{when:%Y-%m-%dT%H:%M:%SZ}",'
                          f'"data":{{"account":"{account}"{more}}}}}\n')


def prepare(binary: str, folder: str, runs: int, fewer: int) -> None:
    measure.tally(binary, "migrate")
    path = os.path.join(folder, "accounts.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump({"accounts": [{"id": name, "name": name, "subscriptions": [{"plan": "scale", "from": "2020-01-01"}]}
                                for name in (BIG, SMALL)]}, out)
    measure.tally(binary, "accounts", "apply", path)
    events = os.path.join(folder, "events.ndjson")
    write_events(events, BIG, runs, "w")
    write_events(events, SMALL, fewer, "a")
    begun = time.monotonic()
    measure.tally(binary, "meter", "--file", events)
    print(f"  metered {runs:,} and {fewer:,} runs in {time.monotonic() - begun:.1f} s", flush=True)
    measure.psql("VACUUM ANALYZE", "CHECKPOINT")


class Asker:
    def __init__(self, port: int, token: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> bytes:
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"GET {path}: {answer.status} {body[:500]!r}")
        return body

    def ms(self, path: str) -> float:
        begun = time.perf_counter()
        self.get(path)
        return (time.perf_counter() - begun) * 1000


def bench(name: str, asker: Asker, paths: dict[str, str], rounds: int, aim: float) -> dict:
    times: dict[str, list[float]] = {BIG: [], SMALL: []}
    for account in (BIG, SMALL):
        asker.get(paths[account])  # warms up
    for _ in range(rounds):
        for account in (BIG, SMALL):
            times[account].append(asker.ms(paths[account]))
    big, small = (statistics.median(times[account]) for account in (BIG, SMALL))
    tails = [statistics.quantiles(times[account], n=100)[98] for account in (BIG, SMALL)]
    print(f"  {name:<34} {big:>8.2f} ms   of few runs {small:>8.2f} ms   ratio {big / small:.2f}, aim {aim}"
          f"   (99th percentiles {tails[0]:.2f} and {tails[1]:.2f} ms)", flush=True)
    return {"name": name, "big_ms": big, "small_ms": small, "ratio": round(big / small, 3), "aim": aim}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="build/tally")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--fewer", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", default="build/bench-usage.json")
    args = parser.parse_args()
    measure.check_durable()
    begin, end = month()
    middle = (begin + (end - begin) / 2).strftime("%Y-%m-%dT%H:%M:%SZ")
    span = f"from={begin:%Y-%m-%d}&to={end:%Y-%m-%d}"
    asked = {
        "usage, a month by day": f"usage?{span}&window=day",
        "runs, the first page": "runs?limit=100",
        "runs, a page of mid-month": f"runs?limit=100&to={middle}",
        "runs, of one VM": "runs?limit=100&vm=vm000003",
    }
    with tempfile.TemporaryDirectory() as folder:
        prepare(args.binary, folder, args.runs, args.fewer)
        token = measure.tally(args.binary, "tokens", "create", "--role", "finance").stdout.split()[-1]
        with server(args.binary, folder) as (port, _):
            asker = Asker(port, token)
            results = [bench(name, asker, {a: f"/v1/accounts/{a}/{query}" for a in (BIG, SMALL)}, args.rounds, 2)
                       for name, query in asked.items()]
    measure.write_results(args.json, results)


if __name__ == "__main__":
    main()
