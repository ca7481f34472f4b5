# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm, or are broken: they cost themselves their connection, and others nothing."""

from __future__ import annotations

import json
import resource
import socket
import time
from contextlib import ExitStack, suppress

from billing import apply
from harness import World, expect, expect_same, test
from run import patience
from serving import Client, Server, at_once, serve
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


# ---- streams that are taken slowly ----

TAKERS = ("acme", "globex", "initech", "umbrella")
TAKEN_VMS, TAKEN_YEAR = 20, 2025
TAKEN_ROWS = 365 * 24 * TAKEN_VMS
GROWTH_MAX_KB = 16 * 1024  # of memory; two answers are more
DEADLINE_S = 3


def year_of_use(world: World) -> None:
    subscriptions = [{"plan": "scale", "from": "2020-01-01"}]
    apply(world, {"accounts": [{"id": id, "name": id, "subscriptions": subscriptions} for id in TAKERS]})
    events = [
        {"specversion": "1.0", "id": f"{id} {n} {kind}", "source": "/slow", "type": f"vm.{kind}",
         "subject": f"{id}-{n}", "time": f"{year}-01-01T00:00:00Z", "data": {"account": id, **more}}
        for id in TAKERS for n in range(TAKEN_VMS)
        for kind, year, more in (("started", TAKEN_YEAR, {"size": "nano"}), ("stopped", TAKEN_YEAR + 1, {}))
    ]
    lines = [json.dumps(event).encode() for event in events]
    world.tally("meter", "--file", world.write("year.ndjson", lines))


def stream_path(account: str) -> str:
    span = f"from={TAKEN_YEAR}-01-01&to={TAKEN_YEAR + 1}-01-01"
    return f"/v1/accounts/{account}/usage?{span}&window=hour&group_by=vm"


def slow_stream(server: Server, client: Client, account: str) -> tuple[socket.socket, bytes]:
    """Asks for a long answer, and takes no more of it than its beginning."""
    connection = socket.socket()
    connection.settimeout(20 * patience())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    head = f"Authorization: Bearer {client.token}\r\nAccept: text/csv\r\n"
    connection.sendall(f"GET {stream_path(account)} HTTP/1.1\r\n{HOST}{head}\r\n".encode())
    got = b""
    while got.endswith(b"\r\n\r\n") or b"\r\n\r\n" not in got:  # until the body has begun
        piece = connection.recv(1024)
        expect(piece, f"no answer: {got!r}")
        got += piece
    return connection, got


def held(got: bytes) -> bool:
    """Whether it streams; if not, it was told when to come again."""
    if got.startswith(b"HTTP/1.1 200 "):
        return True
    expect(got.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: 1\r\n" in got, str(got))
    expect(b"urn:tally:problem:busy" in got, str(got))
    return False


def whole_stream(client: Client, account: str) -> None:
    reply = client.get(stream_path(account), headers={"Accept": "text/csv"})
    expect_same((200, TAKEN_ROWS + 1), (reply.status, reply.body.count(b"\r\n")), f"{account}'s stream")


def short_reads(server: Server, what: str) -> None:
    for client in (server.client("finance"), server.client("customer", "acme")):
        for path in ("/v1/accounts/acme/credits", "/v1/accounts/acme/usage"):
            began = time.monotonic()
            reply = client.get(path)
            expect_same(200, reply.status, f"{what}: {path}")
            took = time.monotonic() - began
            expect(took < DEADLINE_S * patience(), f"{what}: {path} took {took:.1f} s")


def register_slow_streams(readers: int, streams: int) -> None:
    """`streams`: how many customers may hold one at a time."""

    @test(f"with --readers {readers}, customers that take streams slowly keep nobody from short reads, "
          "nor finance and, one by one, others from streams",
          name=f"hostile_slow_streams_{readers}", seconds=180, heavy=True)
    def run(world: World) -> None:
        year_of_use(world)
        with serve(world, "--readers", readers, "--deadline-ms", DEADLINE_S * 1000) as server:
            customers = {id: server.client("customer", id) for id in TAKERS}
            finance = server.client("finance")
            whole_stream(customers["acme"], "acme")
            before_kb = memory_kb(server)
            with ExitStack() as open_ones:
                def slow(id: str) -> bool:
                    connection, got = slow_stream(server, customers[id], id)
                    open_ones.enter_context(connection)
                    return held(got)

                one = at_once([lambda: slow("acme")] * (readers + 3))
                expect_same(1, sum(one), "streams that one customer holds")
                path = "/v1/invoices/INV-2025-000001/explain"
                asked = [who.get(path) for who in (customers["acme"], finance)]
                expect_same(["busy", "not-found"], [reply.problem for reply in asked], "explanations")
                short_reads(server, "one customer holds what it can")
                if streams > 1:
                    whole_stream(customers["globex"], "globex")
                others = [slow(id) for id in TAKERS[1:]]
                expect_same(streams - 1, sum(others), "streams that the others hold")
                short_reads(server, "customers hold what they can")
                whole_stream(finance, "acme")
                grown = memory_kb(server) - before_kb
                expect(grown < GROWTH_MAX_KB, f"memory grew by {grown} KB")
            for id in TAKERS:
                whole_stream(customers[id], id)


register_slow_streams(1, 1)
register_slow_streams(4, 3)
