# SPDX-License-Identifier: Apache-2.0
"""`tally serve` in a test: started on free ports, spoken to over http.client, with a token a role."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from harness import Failed, World, expect, until
from run import patience

ROLES = ("orchestrator", "finance", "customer", "admin")
PROBLEM = "application/problem+json"


@dataclass
class Reply:
    """An answer. Names of headers are in lower case."""

    request: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Failed(f"not JSON ({error})\n{self}") from None

    @property
    def problem(self) -> str:
        """The problem's name; "" where the answer is none."""
        if self.media_type != PROBLEM:
            return ""
        return self.json["type"].removeprefix("urn:tally:problem:")

    def __str__(self) -> str:
        return f"{self.request} → {self.status}\n{self.headers}\n{self.body[:2000]!r}"


class Client:
    """A keep-alive connection of one thread's, made anew where the server closed it."""

    def __init__(self, url: str, token: str | None = None, seconds: float = 30) -> None:
        self.url, self.token, self.seconds = url, token, seconds * patience()
        self.connection: http.client.HTTPConnection | None = None

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            trusting = ssl._create_unverified_context()  # the tests' certificates are their own
            return http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=self.seconds, context=trusting
            )
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.seconds)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Reply:
        """`body`: bytes as they are, text, or anything else as JSON; `token`: instead of the
        client's, "" for none. A request on a kept connection that the server has closed meanwhile
        is sent once more; other failures are the caller's (OSError, http.client.HTTPException)."""
        if query:
            path += "?" + urlencode(query)
        sent = dict(headers or {})
        credential = self.token if token is None else token
        if credential and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {credential}"
        if body is not None and not isinstance(body, bytes):
            sent.setdefault("Content-Type", "application/json")
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        kept = self.connection is not None
        try:
            return self._send(method, path, body, sent)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if not kept:
                raise
            return self._send(method, path, body, sent)
        except BaseException:
            self.close()
            raise

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        if self.connection is None:
            self.connection = self._connect()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.will_close:
            self.close()
        named: dict[str, str] = {}
        for name, value in answer.getheaders():
            name = name.lower()
            named[name] = f"{named[name]}, {value}" if name in named else value
        return Reply(f"{method} {path}", answer.status, named, content)

    def get(self, path: str, **how: Any) -> Reply:
        return self.request("GET", path, **how)

    def post(self, path: str, body: Any, **how: Any) -> Reply:
        return self.request("POST", path, body, **how)

    def delete(self, path: str, **how: Any) -> Reply:
        return self.request("DELETE", path, **how)

    # ---- quota ----
    def reserve(self, account: str, vm: str, size: str = "nano", **more: Any) -> Reply:
        return self.post("/v1/quota/reservations", {"account": account, "vm": vm, "size": size}, **more)

    def reservation(self, account: str, vm: str) -> Reply:
        return self.get(reservation_path(account, vm))

    def release(self, account: str, vm: str, **query: Any) -> Reply:
        return self.delete(reservation_path(account, vm), query=query)

    def quota(self, account: str) -> dict[str, Any]:
        reply = self.get(f"/v1/accounts/{quote(account, safe='')}/quota")
        expect(reply.status == 200, str(reply))
        return reply.json


def reservation_path(account: str, vm: str) -> str:
    return f"/v1/quota/reservations/{quote(account, safe='')}/{quote(vm, safe='')}"


@dataclass
class Server:
    """A `tally serve`. Its log is a file of JSON lines."""

    world: World
    process: subprocess.Popen[bytes]
    log: Path
    url: str
    metrics_url: str
    clients: list[Client] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    def client(self, role: str | None = "admin", account: str | None = None, **how: Any) -> Client:
        """Speaks with a token of this role, the same one whenever it is asked for; None: none."""
        made = Client(self.url, token(self.world, role, account) if role else None, **how)
        self.clients.append(made)
        return made

    def metrics(self) -> dict[str, float]:
        """Every series by its name and labels, as Prometheus would see it."""
        reply = Client(self.metrics_url).get("/metrics")
        expect(reply.status == 200, str(reply))
        lines = [line for line in reply.text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def lines(self) -> list[dict[str, Any]]:
        return [line for line in map(_object, self.log.read_bytes().splitlines()) if line]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30) -> int:
        """In order, and must end so; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds * patience())
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"tally serve did not end within {seconds} s\n{self.end()}") from None

    def end(self, bytes_max: int = 3000) -> str:
        return self.log.read_bytes()[-bytes_max:].decode(errors="replace")

    def check(self) -> None:
        """It still runs, and no sanitizer has found anything."""
        expect(self.process.poll() is None, f"tally serve ended by itself\n{self.end()}")
        text = self.log.read_bytes()
        for bad in (b"AddressSanitizer", b"runtime error:", b"LeakSanitizer", b"Assertion"):
            expect(bad not in text, f"tally serve says {bad.decode()!r}\n{self.end(10000)}")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        for client in self.clients:
            client.close()
        if kind is None:
            self.check()
            status = self.stop()
            expect(status == 0, f"tally serve ended with {status}\n{self.end()}")
        else:
            self.kill()


_starts = 0


def serve(
    world: World,
    *options: Any,
    ready: bool = True,
    env: dict[str, str] | None = None,
    listen: str = "127.0.0.1:0",
) -> Server:
    """Starts `tally serve` and waits until it listens and, with `ready`, until /readyz says 200.
    Use it in a `with`: at the end it must stop in order, and with status 0."""
    global _starts
    _starts += 1
    log = world.folder / f"serve-{_starts}.log"
    with open(log, "wb") as out:
        process = world.start(
            "serve", "--listen", listen, "--metrics-listen", "127.0.0.1:0", *options,
            env=env, stdout=out, stderr=out,
        )

    def listening() -> dict[str, Any] | None:
        said = log.read_bytes()
        expect(process.poll() is None, f"tally serve ended: {said[-4000:].decode()}")
        lines = map(_object, said.splitlines())
        return next((line for line in lines if line and "metrics_url" in line), None)

    line = until(listening, "tally serve listens", 30 * patience())
    server = Server(world, process, log, line["url"], line["metrics_url"])
    if ready:
        until(lambda: readiness(server).status == 200, "/readyz says 200", 30 * patience())
    return server


def readiness(server: Server) -> Reply:
    return Client(server.url).get("/readyz")


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


# ---- tokens ----

_tokens: dict[tuple[str, str, str | None], str] = {}


def token(world: World, role: str, account: str | None = None) -> str:
    """A token of this role, made once for a database."""
    key = (world.database, role, account)
    if key not in _tokens:
        _tokens[key] = new_token(world, role, account)
    return _tokens[key]


def new_token(world: World, role: str, account: str | None = None, *more: Any) -> str:
    options = ["--role", role] + (["--account", account] if account else []) + list(more)
    text = world.tally("tokens", "create", *options).stdout.strip()
    expect(text and " " not in text and "\n" not in text, f"tokens create printed {text!r}")
    return text


def token_id(text: str) -> str:
    """The part of a token that may be shown: tally_ID_SECRET."""
    return text.split("_")[1]


def revoke(world: World, text: str) -> None:
    world.tally("tokens", "revoke", token_id(text))


# ---- at once ----


def at_once(work: list[Callable[[], Any]]) -> list[Any]:
    """Runs each in a thread of its own, begun together; their results in order. The first
    exception is raised when all have ended."""
    results: list[Any] = [None] * len(work)
    errors: list[BaseException] = []
    gate = threading.Barrier(len(work))

    def run(i: int) -> None:
        try:
            gate.wait(60)
            results[i] = work[i]()
        except BaseException as error:  # told below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def retried(
    send: Callable[[], Reply], attempts: int = 10, pause_s: float = 0.05
) -> Reply:
    """Sends again on 503 and on a broken connection, as an orchestrator would."""
    for attempt in range(attempts):
        try:
            reply = send()
            if reply.status != 503 or attempt == attempts - 1:
                return reply
        except (OSError, http.client.HTTPException):
            if attempt == attempts - 1:
                raise
        time.sleep(pause_s)
    raise AssertionError("unreachable")
