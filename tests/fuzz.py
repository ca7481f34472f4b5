# SPDX-License-Identifier: Apache-2.0
"""Has schemathesis, an OpenAPI-driven fuzzer, ask a served instance with a small real data set for
everything that /openapi.json describes, well-formed and not, with tokens of several roles. Nothing
may be answered that is not described, and nothing malformed be accepted.

usage: tests/fuzz.py --binary build/tally --schemathesis build/venv/bin/schemathesis [--long]

One line a role; the last line is `N passed, N failed, N skipped`. TALLY_SEED=N asks the same again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "system"))

import small  # noqa: E402
from harness import Postgres, World, until  # noqa: E402
from serving import Server, readiness, serve, token  # noqa: E402

REQUESTS_MIN, REQUESTS_MIN_LONG = 1_000, 10_000
# How many examples an operation gets; a role that may little gets few, and only at random.
EXAMPLES = {"admin": 30, "customer": 10, "orchestrator": 6, "finance": 6}
PHASES = {"admin": "examples,coverage,fuzzing,stateful", "customer": "examples,coverage,fuzzing"}
LONGER = 20
ACCEPTED_MIN = {"admin": 100, "customer": 20}
SECONDS_MAX, SECONDS_MAX_LONG = 300, 3000


@dataclass
class Fuzzed:
    role: str
    requests: int
    accepted: int  # of these, answered 2xx
    seconds: float
    findings: list[str]
    output: str


def fuzz(server: Server, role: str, chosen: argparse.Namespace, seed: int, folder: Path) -> Fuzzed:
    account = small.ACCOUNT if role == "customer" else None
    report, log = folder / f"{role}.json", folder / f"{role}.log"
    examples = EXAMPLES[role] * (LONGER if chosen.long else 1)
    command = [
        chosen.schemathesis.absolute(), "--config-file", HERE / "schemathesis.toml", "--no-color", "run",
        f"{server.url}/openapi.json", "--header",
        f"Authorization: Bearer {token(server.world, role, account)}",
        "--max-examples", str(examples), "--seed", str(seed), "--checks", "all",
        "--phases", PHASES.get(role, "examples,fuzzing"),
        "--continue-on-failure", "--warnings", "off", "--request-timeout", "20",
        "--suppress-health-check", "all", "--report", "json", "--report-json-path", report,
    ]
    findings: list[str] = []
    began = time.monotonic()
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=out, stderr=out, cwd=folder,
            stdin=subprocess.DEVNULL,
        )
        try:
            process.wait(SECONDS_MAX_LONG if chosen.long else SECONDS_MAX)
        except subprocess.TimeoutExpired:
            findings.append("it took too long")
        finally:
            process.kill()
            process.wait()
    requests = accepted = 0
    if report.exists():
        told = json.loads(report.read_text())
        requests = told["test_cases"]["generated"]
        accepted = sum(
            phase["accepted"] for rates in told["valid_rates"].values() for phase in rates.values()
        )
        for failure in told["failures"]:
            findings.append(f"{failure['title']}: {', '.join(failure['operations'])}")
        if told["operations"]["errored"]:
            findings.append(f"{told['operations']['errored']} operations could not be asked")
    if accepted < ACCEPTED_MIN.get(role, 1):
        findings.append(f"only {accepted} requests were accepted: the rest proves little")
    if process.returncode != 0 and not findings:
        findings.append(f"schemathesis ended with {process.returncode}")
    output = log.read_text(errors="replace")
    return Fuzzed(role, requests, accepted, time.monotonic() - began, findings, output)


def world_in(folder: Path, binary: Path, seed: int) -> World:
    postgres = Postgres(folder / "postgres")
    postgres.start()
    postgres.prepare(binary)
    return World(binary, folder / "world", postgres, "migrated", seed)


def run(chosen: argparse.Namespace, folder: Path, seed: int) -> tuple[int, int]:
    """How many passed and failed."""
    world = world_in(folder, chosen.binary.resolve(), seed)
    passed = failed = total = 0
    try:
        small.furnish(world)
        with serve(world) as server:
            for role in EXAMPLES:
                fuzzed = fuzz(server, role, chosen, seed, folder)
                total += fuzzed.requests
                good = not fuzzed.findings and fuzzed.requests > 0
                passed, failed = passed + good, failed + (not good)
                show(fuzzed, good)
                until(lambda: readiness(server).status == 200, "the service is ready", 10)
    finally:
        world.postgres.stop()
    least = REQUESTS_MIN_LONG if chosen.long else REQUESTS_MIN
    enough = total >= least
    print(f"{'ok' if enough else 'FAILED':7} fuzz_requests: {total} requests, {least} at least")
    return passed + enough, failed + (not enough)


def show(fuzzed: Fuzzed, good: bool) -> None:
    print(f"{'ok' if good else 'FAILED':7} fuzz_{fuzzed.role}: nothing undescribed is answered to"
          f" this role, nothing malformed accepted ({fuzzed.requests} requests,"
          f" {fuzzed.accepted} accepted, {fuzzed.seconds:.0f} s)", flush=True)
    if not good:
        for line in fuzzed.findings + fuzzed.output.splitlines()[-400:]:
            print(f"        {line}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True, help="the tally to test")
    parser.add_argument("--schemathesis", type=Path, required=True, help="the program")
    parser.add_argument("--long", action="store_true", help=f"{REQUESTS_MIN_LONG} requests and more")
    chosen = parser.parse_args()
    seed = int(os.environ.get("TALLY_SEED") or random.SystemRandom().randrange(10**9))
    print(f"seed {seed} (TALLY_SEED={seed} asks the same again)", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # so that what was started is stopped
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="tally-fuzz."))
    folder.chmod(0o755)  # PostgreSQL may run as another user
    passed, failed = run(chosen, folder, seed)
    if failed:
        print(f"what failed left its files in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
