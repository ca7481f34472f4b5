# SPDX-License-Identifier: Apache-2.0
"""What the system tests stand on: a private PostgreSQL, the binary, and a register of tests."""

from __future__ import annotations

import difflib
import json
import os
import pwd
import random
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Function = Callable[["World"], None]


class Failed(Exception):
    """What was promised does not hold."""


class Skipped(Exception):
    """The test cannot run here."""


@dataclass
class Test:
    name: str
    proves: str
    run: Function
    seconds: int = 60
    kafka: tuple[str, ...] = ()  # the kinds of broker it can run on; none: it needs none
    long: bool = False
    missing: str = ""  # what the product lacks as yet, so that this cannot be tested
    heavy: bool = False  # takes much of a processor, or measures memory, and needs no broker: one at a time,
    # without sanitizers in the test command


TESTS: list[Test] = []


def test(
    proves: str,
    *,
    seconds: int = 60,
    kafka: tuple[str, ...] = (),
    long: bool = False,
    name: str | None = None,
    missing: str = "",
    heavy: bool = False,
) -> Callable[[Function], Function]:
    """Registers a test, with a sentence that says what it proves."""

    def register(function: Function) -> Function:
        named = name or function.__name__
        TESTS.append(Test(named, proves, function, seconds, kafka, long, missing, heavy))
        return function

    return register


# ---- expectations ----


def expect(holds: Any, message: str) -> None:
    if not holds:
        raise Failed(message)


def expect_same(expected: Any, got: Any, what: str) -> None:
    if expected != got:
        raise Failed(f"{what} is not as expected (-expected, +got)\n{diff(expected, got)}")


def diff(expected: Any, got: Any, lines_max: int = 60) -> str:
    """The differences of two values, a member a line."""
    lines = difflib.unified_diff(*[_pretty(value) for value in (expected, got)], n=2, lineterm="")
    shown = list(lines)[2:]
    more = len(shown) - lines_max
    return "\n".join(shown[:lines_max] + ([f"… and {more} lines more"] if more > 0 else []))


def _pretty(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    if isinstance(value, list):
        return [json.dumps(row, ensure_ascii=False, default=str) for row in value]
    if isinstance(value, dict):
        return [f"{key}: {row!r}" for key, row in sorted(value.items(), key=lambda kv: str(kv[0]))]
    return [repr(value)]


def until(holds: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Waits for something to come true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        expect(time.monotonic() < deadline, f"waited {seconds} s in vain: {what}")
        time.sleep(0.1)


# ---- PostgreSQL ----


def postgres_bin() -> Path:
    """Where PostgreSQL's programs are; the newest where there are several."""
    if shutil.which("pg_config"):
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
        if (Path(answer.stdout.strip()) / "initdb").exists():
            return Path(answer.stdout.strip())
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise SystemExit("PostgreSQL's server programs (initdb, postgres) are not installed")
    return found[-1].parent


def unprivileged() -> dict[str, Any]:
    """How to start a program of PostgreSQL's, which refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise SystemExit("neither a user postgres nor nobody to run PostgreSQL as")


class Postgres:
    """A server of its own in a temporary folder, reached by a socket in it alone."""

    OPTIONS = ["listen_addresses=", "fsync=off", "max_connections=200", "autovacuum=off"]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.process: subprocess.Popen[bytes] | None = None
        self.bin = postgres_bin()
        folder.mkdir(parents=True)
        user = unprivileged()
        if user:
            os.chown(folder, user["user"], user["group"])
        subprocess.run(
            [self.bin / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust"]
            + ["--locale=C.UTF-8", "--encoding=UTF8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **user,
        )

    def start(self) -> None:
        options = [part for option in self.OPTIONS for part in ("-c", option)]
        with open(self.folder.parent / f"{self.folder.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, "-k", self.folder, *options],
                stdout=log, stderr=log, cwd="/", **unprivileged(),
            )
        until(self._answers, f"PostgreSQL starts (see {log.name})", 60)

    def _answers(self) -> bool:
        expect(self.process.poll() is None, "PostgreSQL ended by itself")
        command = [self.bin / "pg_isready", "-q", "-h", self.folder]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it in order; SIGQUIT is `pg_ctl stop -m immediate`: as if it had crashed."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def url(self, database: str, login: str = "postgres") -> str:
        return f"postgresql:///{database}?host={self.folder}&user={login}"

    def psql(self, database: str, sql: str) -> str:
        command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", sql]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        expect(answer.returncode == 0, f"psql: {sql}\n{answer.stderr}")
        return answer.stdout.rstrip("\n")

    def create(self, database: str, template: str | None = None) -> None:
        self.psql("postgres", f"CREATE DATABASE {database} TEMPLATE {template or 'template0'}"
                              f" OWNER {MIGRATES}")

    def prepare(self, binary: Path) -> None:
        """Logins of each role, none of them a superuser, and a database to copy: `migrated`."""
        self.psql("postgres", f"CREATE ROLE {MIGRATES} LOGIN CREATEROLE")
        self.create("migrated")
        self.migrate(binary, "migrated")
        for login, roles in LOGINS.items():
            self.psql("postgres", f"CREATE ROLE {login} LOGIN IN ROLE {roles}")

    def migrate(self, binary: Path, database: str) -> None:
        environment = {"TALLY_DATABASE_URL": self.url(database, MIGRATES)}
        ran = subprocess.run(
            [binary, "migrate"],
            env=os.environ | environment, capture_output=True, text=True, check=False,
        )
        if ran.returncode != 0:
            raise SystemExit(f"tally migrate failed with {ran.returncode}:\n{ran.stderr}")


# Who runs what, as docs/operations.md has it.
MIGRATES = "migrator"
LOGINS = {
    "collector": "tally_collector",
    "service": "tally_service",
    "finance": "tally_finance",
    "operator": "tally_collector, tally_finance",
}
LOGIN_OF = {"migrate": MIGRATES, "accounts": "operator", "catalog": "operator"}
LOGIN_OF |= dict.fromkeys(("meter", "dead-letters"), "collector")
LOGIN_OF |= dict.fromkeys(("serve", "quota", "usage", "estimate", "reconcile"), "service")
LOGIN_OF |= dict.fromkeys(("invoices", "explain", "audit", "report", "tokens"), "finance")


# ---- the binary ----


@dataclass
class Ran:
    """A command that has ended."""

    command: str
    exit: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        stdout, stderr = self.stdout[-2000:], self.stderr[-4000:]
        return f"$ {self.command}\nexit {self.exit}\nstdout: {stdout}\nstderr: {stderr}"


@dataclass
class World:
    """What a test has of its own: a folder, a database, and the binary on them."""

    binary: Path
    folder: Path
    postgres: Postgres
    template: str
    seed: int
    kafka: str = "none"
    databases: int = 0
    database: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.fresh()

    @property
    def tools(self) -> Path:
        return self.binary.parent / "tests"

    @property
    def random(self) -> random.Random:
        """The same numbers for the same seed and test, whatever ran before."""
        return random.Random(f"{self.seed} {self.folder.name}")

    def fresh(self) -> None:
        """A new database, migrated."""
        self.databases += 1
        name = "".join(c if c.isalnum() else "_" for c in self.folder.name.lower())
        self.database = f"{name[:40]}_{os.getpid()}_{self.databases}"
        self.postgres.create(self.database, self.template)

    def tally(
        self,
        *arguments: Any,
        input: str | bytes | None = None,
        exit: int | Iterable[int] | None = 0,
        env: dict[str, str] | None = None,
        seconds: float | None = None,
    ) -> Ran:
        """Runs the binary to its end, with the login of its subcommand; its exit status must be
        `exit` (None: any)."""
        process = self.start(*arguments, env=env, stdin=subprocess.PIPE)
        bytes_in = input.encode() if isinstance(input, str) else input
        try:
            stdout, stderr = process.communicate(bytes_in, seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            command = self.command(*arguments)
            raise Failed(f"still running after {seconds} s: {Ran(command, -1, *_texts(out, err))}")
        ran = Ran(self.command(*arguments), process.returncode, *_texts(stdout, stderr))
        allowed = {exit} if isinstance(exit, int) else exit
        if allowed is not None and ran.exit not in allowed:
            raise Failed(f"expected exit {exit}\n{ran}")
        return ran

    def json(self, *arguments: Any) -> Any:
        ran = self.tally(*arguments, "--format", "json")
        try:
            return json.loads(ran.stdout)
        except ValueError as error:
            raise Failed(f"not JSON ({error})\n{ran}") from None

    def start(
        self, *arguments: Any, env: dict[str, str] | None = None, **how: Any
    ) -> subprocess.Popen[bytes]:
        """Starts the binary, and does not wait for its end."""
        pipe = subprocess.PIPE
        how = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe} | how
        login = LOGIN_OF.get(str(arguments[0]), "service") if arguments else "service"
        variables = {"TALLY_DATABASE_URL": self.postgres.url(self.database, login)}
        return subprocess.Popen(
            [self.binary, *map(str, arguments)],
            env=os.environ | variables | self.environment | (env or {}),
            cwd=self.folder,
            **how,
        )

    def command(self, *arguments: Any) -> str:
        return shlex.join([self.binary.name, *map(str, arguments)])

    def psql(self, sql: str) -> str:
        return self.postgres.psql(self.database, sql)

    def write(self, name: str, content: Any) -> Path:
        """A file: bytes, text, lines, or anything else as JSON."""
        path = self.folder / name
        if isinstance(content, list) and all(isinstance(line, bytes) for line in content):
            content = b"".join(line + b"\n" for line in content)
        elif not isinstance(content, (bytes, str)):
            content = json.dumps(content, ensure_ascii=False)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def own_postgres(self) -> None:
        """A server that no other test uses, for tests that stop it."""
        server = Postgres(self.postgres.folder.parent / f"postgres-{os.getpid()}")
        server.start()
        server.prepare(self.binary)
        self.postgres, self.template = server, "migrated"
        self.fresh()


def _texts(*outputs: bytes) -> list[str]:
    return [output.decode(errors="replace") for output in outputs]


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
