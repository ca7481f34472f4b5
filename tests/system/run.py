# SPDX-License-Identifier: Apache-2.0
"""Runs the system tests: python3 tests/system/run.py --binary build/tally

Every test runs in a process of its own, with a database of its own in a private PostgreSQL, and
with a time limit. The last line is `N passed, N failed, N skipped`.

TALLY_REQUIRE_ALL=1 makes a skipped test a failure; TALLY_SEED=N draws the same histories again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))

import harness  # noqa: E402
from harness import TESTS, Failed, Postgres, Skipped, Test, World  # noqa: E402


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True, help="the tally to test")
    parser.add_argument("--only", default="", metavar="REGEX", help="tests whose name has this")
    parser.add_argument(
        "--kafka",
        default="mock",
        metavar="mock|real:HOST:PORT|none",
        help="mock: librdkafka's in-memory cluster; real: only the tests that need a broker,"
        " on this one, and heavy ones; none: tests that need one are skipped",
    )
    parser.add_argument(
        "--heavy", default="with", choices=("with", "without", "only"),
        help="those that take much of a processor and no broker; real has them, too (default: with)",
    )
    parser.add_argument("--long", action="store_true", help="the long tests, too")
    parser.add_argument("--missing", action="store_true", help="try what is known to be missing")
    parser.add_argument("--jobs", type=int, default=2, help="tests at once (default 2)")
    parser.add_argument("--list", action="store_true", help="names, and what each proves")
    chosen = parser.parse_args()
    if not re.fullmatch(r"mock|none|real:[^:]+:\d+", chosen.kafka):
        parser.error(f"--kafka {chosen.kafka}: expected mock, real:HOST:PORT or none")
    return chosen


def chosen_tests(chosen: argparse.Namespace) -> tuple[list[Test], list[Test]]:
    """The tests to run, and those that are for another kind of broker than the one at hand."""
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(path.stem)
    tests = [
        t for t in TESTS
        if re.search(chosen.only, t.name) and (chosen.long or not t.long)
        and (chosen.missing or not t.missing)
    ]
    if chosen.heavy != "with":
        tests = [t for t in tests if t.heavy == (chosen.heavy == "only")]
    kind = chosen.kafka.split(":")[0]
    if kind == "none":
        return tests, []
    if kind == "real":
        return [t for t in tests if "real" in t.kafka or t.heavy], []
    ours = [t for t in tests if not t.kafka or kind in t.kafka]
    return ours, [t for t in tests if t not in ours]


@dataclass
class Running:
    test: Test
    pid: int
    pipe: int
    began: float
    text: bytes = b""


class Runner:
    def __init__(self, chosen: argparse.Namespace, folder: Path, seed: int) -> None:
        self.chosen, self.folder, self.seed = chosen, folder, seed
        self.postgres = Postgres(folder / "postgres")
        self.running: list[Running] = []
        self.counts = {"ok": 0, "FAILED": 0, "skipped": 0}

    def prepare(self) -> None:
        """One migrated database, which all others are copied from."""
        self.postgres.start()
        self.postgres.prepare(self.chosen.binary.resolve())

    def run(self, tests: list[Test]) -> None:
        waiting = sorted(tests, key=lambda t: not t.heavy)
        while waiting or self.running:
            while waiting and len(self.running) < self.chosen.jobs:
                self.running.append(self._begin(self._next(waiting)))
            ready, _, _ = select.select([r.pipe for r in self.running], [], [], 1)
            for running in list(self.running):
                late = time.monotonic() > running.began + running.test.seconds * patience()
                if running.pipe in ready:
                    chunk = os.read(running.pipe, 1 << 16)
                    running.text += chunk
                    if not chunk:
                        self._end(running)
                elif late:
                    self._end(running, f"took longer than its limit of {running.test.seconds} s")

    def _next(self, waiting: list[Test]) -> Test:
        """The first; while a heavy one runs, the first that is not."""
        busy = any(running.test.heavy for running in self.running)
        others = [n for n, test in enumerate(waiting) if not (busy and test.heavy)]
        return waiting.pop(others[0] if others else 0)

    def _begin(self, test: Test) -> Running:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()  # what it leaves behind can be ended with it
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.close(reader)
            outcome = self._outcome(test)
            with open(writer, "wb") as pipe:
                pipe.write(json.dumps(outcome).encode())
            os._exit(0)
        os.close(writer)
        return Running(test, pid, reader, time.monotonic())

    def _outcome(self, test: Test) -> tuple[str, str]:
        """In the test's own process."""
        if test.kafka and self.chosen.kafka == "none":
            return "skipped", "needs Kafka (--kafka mock or real:HOST:PORT)"
        try:
            test.run(
                World(
                    binary=self.chosen.binary.resolve(),
                    folder=self.folder / test.name,
                    postgres=self.postgres,
                    template="migrated",
                    seed=self.seed,
                    kafka=self.chosen.kafka,
                )
            )
        except Skipped as reason:
            return "skipped", str(reason)
        except Failed as failure:
            where = traceback.extract_tb(failure.__traceback__)
            places = [f"{Path(f.filename).name}:{f.lineno}" for f in where[1:]]
            return "FAILED", f"{failure}\nat {' > '.join(places)}"
        except BaseException:
            return "FAILED", traceback.format_exc()
        return "ok", ""

    def _end(self, running: Running, failure: str | None = None) -> None:
        kill_group(running.pid)
        os.waitpid(running.pid, 0)
        os.close(running.pipe)
        self.running.remove(running)
        try:
            status, reason = json.loads(running.text)
        except ValueError:
            status, reason = "FAILED", "its process ended before its time"
        if failure is not None:
            status, reason = "FAILED", failure
        self.counts[status] += 1
        self._print(running, status, reason)
        if status != "FAILED":
            shutil.rmtree(self.folder / running.test.name, ignore_errors=True)

    def _print(self, running: Running, status: str, reason: str) -> None:
        seconds = time.monotonic() - running.began
        first, *more = reason.split("\n")
        print(f"{status:7} {running.test.name}: {running.test.proves} ({seconds:.1f} s)"
              + (f" – {first}" if first else ""), flush=True)
        for line in more:
            print(f"        {line}", flush=True)

    def stop(self) -> None:
        for running in self.running:
            kill_group(running.pid)
        self.postgres.stop()


def patience() -> float:
    """A binary with sanitizers, or a busy machine, may take longer."""
    return float(os.environ.get("TALLY_TEST_PATIENCE", "1"))


def kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main() -> int:
    chosen = options()
    tests, elsewhere = chosen_tests(chosen)
    if chosen.list:
        for test in tests + elsewhere:
            print(f"{test.name}: {test.proves}")
        return 0
    if not os.access(chosen.binary, os.X_OK):
        raise SystemExit(f"no binary at {chosen.binary}")
    seed = int(os.environ.get("TALLY_SEED") or random.SystemRandom().randrange(10**9))
    print(f"seed {seed} (TALLY_SEED={seed} draws the same again)", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="tally-test."))
    folder.chmod(0o755)  # PostgreSQL may run as another user
    runner = Runner(chosen, folder, seed)
    try:
        runner.prepare()
        runner.run(tests)
    finally:
        runner.stop()
        if runner.counts["FAILED"] == 0:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"what failed left its files in {folder}")
    later = [test for test in TESTS if test.missing and not chosen.missing]
    if later:
        names = ", ".join(f"{test.name} ({test.missing})" for test in later)
        print(f"of what tally does not do yet (--missing), not counted here: {names}")
    if elsewhere:
        names = ", ".join(test.name for test in elsewhere)
        print(f"for a real broker only (--kafka real:HOST:PORT), not counted here: {names}")
    passed, failed, skipped = runner.counts.values()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0 or (skipped > 0 and os.environ.get("TALLY_REQUIRE_ALL") == "1"))


if __name__ == "__main__":
    sys.exit(main())
