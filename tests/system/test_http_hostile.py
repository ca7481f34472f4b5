# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm, or are broken: they cost themselves their connection, and others nothing."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack, suppress

from billing import apply
from harness import World, expect, expect_same, test
from serving import Client, Server, serve
from small import ACCOUNT, accounts

CONNECTIONS = 10_000
FILES_SPARE = 200
LATENCY_MAX_S = 5  # of an answer meanwhile, on a machine that does other things too
MEMORY_MAX_KB = 400 * 1024

HOST = "Host: localhost\r\n"
TWO = "POST /v1/estimate HTTP/1.1\r\n" + HOST
AMBIGUOUS = {
    "length and encoding": TWO + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": TWO + "Content-Length: 0\r\nContent-Length: 30\r\n\r\n",
    "an encoding that is not chunked": TWO + "Transfer-Encoding: identity\r\n\r\n",
    "an encoding that hides": TWO + "Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
    "two encodings": TWO + "Transfer-Encoding: chunked\r\n" * 2 + "\r\n0\r\n\r\n",
    "a space before the colon": TWO + "Content-Length : 30\r\n\r\n",
    "a list of lengths": TWO + "Content-Length: 3, 3\r\n\r\nabc",
    "two hosts": TWO + HOST + "\r\n",
    "no host": "GET /healthz HTTP/1.1\r\n\r\n",
}
SMUGGLED = "GET /smuggled HTTP/1.1\r\n" + HOST + "\r\n"


def connect(server: Server, seconds: float = 20) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=seconds)


def received(connection: socket.socket, bytes_max: int = 1 << 20) -> bytes:
    """What comes until the other side closes."""
    got = b""
    with suppress(ConnectionResetError):
        while len(got) < bytes_max and (piece := connection.recv(65536)):
            got += piece
    return got


def served(server: Server, client: Client, what: str) -> None:
    began = time.monotonic()
    reply = client.reserve(ACCOUNT, f"vm-{time.monotonic_ns()}")
    expect(reply.status in (200, 201, 429), f"{what}: {reply}")
    took = time.monotonic() - began
    expect(took < LATENCY_MAX_S, f"{what}: an answer took {took:.1f} s")


def memory_kb(server: Server) -> int:
    with open(f"/proc/{server.process.pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def many_files() -> int:
    """Raises this process's limit; how many connections it leaves room for."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + FILES_SPARE
    if most != resource.RLIM_INFINITY and most < wanted:
        wanted = most
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return min(CONNECTIONS, wanted - FILES_SPARE)


@test("while 10,000 connections are idle or send slowly, others are served and memory is bounded", seconds=180)
def hostile_crowd(world: World) -> None:
    apply(world, accounts())
    with serve(world) as server, ExitStack() as open_ones:
        client = server.client("orchestrator")
        served(server, client, "before")
        for i in range(many_files()):
            connection = open_ones.enter_context(connect(server))
            if i % 3 == 1:
                with suppress(OSError):
                    connection.send(b"POST /v1/quota/reservations HTTP/1.1\r\nHo")
            if i % 3 == 2:
                with suppress(OSError):
                    connection.send((TWO + "Content-Length: 1000\r\n\r\nabc").encode())
            if i % 500 == 0:
                served(server, client, f"among {i} connections")
                served(server, server.client("orchestrator"), f"anew among {i} connections")
        served(server, server.client("orchestrator"), "among all")
        expect(memory_kb(server) < MEMORY_MAX_KB, f"{memory_kb(server)} KB")


@test("answers that nobody reads are given up, and others are served meanwhile", seconds=120)
def hostile_unread(world: World) -> None:
    apply(world, accounts())
    with serve(world) as server, ExitStack() as open_ones:
        request = ("GET /openapi.json HTTP/1.1\r\n" + HOST + "\r\n").encode()
        for _ in range(200):
            connection = open_ones.enter_context(connect(server))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            with suppress(OSError):
                connection.send(request * 200)
        client = server.client("orchestrator")
        for i in range(20):
            served(server, client, f"request {i} among unread answers")
        expect(memory_kb(server) < MEMORY_MAX_KB, f"{memory_kb(server)} KB")


@test("framing that two servers could understand in two ways is refused, and the connection is closed")
def hostile_framing(world: World) -> None:
    with serve(world) as server:
        for name, request in AMBIGUOUS.items():
            with connect(server) as connection:
                connection.sendall((request + SMUGGLED).encode())
                got = received(connection)
            # libmicrohttpd 0.9.75 puts the head of its own refusals twice; the second request has no answer
            statuses = {piece[:3] for piece in got.split(b"HTTP/1.1 ")[1:]}
            expect_same({b"400"}, statuses, f"{name}: {got[:500]!r}")


@test("requests that follow each other without waiting are answered in order, once each")
def hostile_pipelining(world: World) -> None:
    apply(world, accounts())
    with serve(world) as server, connect(server) as connection:
        server.client("orchestrator")
        paths = [f"/healthz?{i}" if i % 2 else f"/v1/none-{i}" for i in range(200)]
        requests = [
            f"GET {path} HTTP/1.1\r\n{HOST}X-Request-Id: r{i}\r\n"
            + ("Connection: close\r\n" if i == len(paths) - 1 else "") + "\r\n"
            for i, path in enumerate(paths)
        ]
        connection.sendall("".join(requests).encode())
        lines = received(connection, 1 << 24).split(b"\r\n")
        ids = [line.split(b": ")[1].decode() for line in lines if line.lower().startswith(b"x-request-id:")]
        expect_same([f"r{i}" for i in range(len(paths))], ids, "the answers' ids")


@test("a request sent a byte at a time is answered; too large a one is refused while it is sent")
def hostile_bodies(world: World) -> None:
    with serve(world) as server:
        with connect(server) as connection:
            for byte in ("GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + "\r\n").encode():
                connection.send(bytes([byte]))
                time.sleep(0.002)
            expect(received(connection).startswith(b"HTTP/1.1 200 "), "byte by byte")
        with connect(server) as connection:
            connection.sendall((TWO + "Content-Length: 65537\r\n\r\n").encode())
            expect(received(connection).startswith(b"HTTP/1.1 413 "), "a length past the limit")
        with connect(server) as connection:  # without a length, for ever
            sent = 0
            with suppress(OSError):
                connection.sendall((TWO + "Transfer-Encoding: chunked\r\n\r\n").encode())
                while sent < 64 << 20:
                    connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                    sent += 0x4000
            expect(sent < 32 << 20, f"{sent} bytes of one body were taken")
