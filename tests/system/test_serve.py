# SPDX-License-Identifier: Apache-2.0
"""`tally serve` as a process: readiness, tokens and their life, TLS, a stop in order, its log, and the
listener for Prometheus. What routes answer is tested elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

import serving
from harness import Skipped, World, expect, expect_same, test, until
from serving import Client, Server, new_token, serve, token_id

ACCOUNTS = {
    "accounts": [
        {"id": name, "name": name.title(), "subscriptions": [{"plan": "scale", "from": "2025-01-01"}]}
        for name in ("acme", "other")
    ]
}
QUOTA = "/v1/accounts/acme/quota"


def apply_accounts(world: World) -> None:
    world.tally("accounts", "apply", world.write("accounts.json", ACCOUNTS))


def begun(server: Server) -> None:
    expect_same({"status": "ok"}, Client(server.url).get("/healthz").json, "/healthz")


def signal_all(pids: list[str | int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(int(pid), number)
        except ProcessLookupError:
            pass  # psql's own, which has ended


# ---- tokens ----


@test("a token works at once, is listed without its secret, and ends within seconds when revoked")
def serve_tokens(world: World) -> None:
    apply_accounts(world)
    with serve(world) as server:
        client = Client(server.url)
        unknown = "tally_" + "0" * 16 + "_" + "0" * 64
        for wrong in ("", "x", unknown, "tally_zz_zz"):
            reply = client.get(QUOTA, token=wrong)
            expect_same((401, "unauthenticated"), (reply.status, reply.problem), f"token {wrong!r}")
            expect(reply.headers.get("www-authenticate") == 'Bearer realm="tally"', str(reply))
        text = new_token(world, "finance", None, "--note", "the books")
        expect_same(200, client.get(QUOTA, token=text).status, "a new token")
        changed = text[:-1] + ("0" if text[-1] != "0" else "1")
        expect_same(401, client.get(QUOTA, token=changed).status, "another secret")
        listed = world.json("tokens", "list")
        expect_same([token_id(text)], [row["id"] for row in listed], "tokens list")
        expect_same(("finance", None, "valid", "the books"),
                    tuple(listed[0][k] for k in ("role", "account", "state", "note")), "its row")
        expect(text.split("_")[2] not in json.dumps(listed), "a secret is listed")
        stored = world.psql("SELECT string_agg(t::text, '') FROM token t")
        expect(text.split("_")[2] not in stored, "a secret is stored")
        world.tally("tokens", "revoke", token_id(text))
        until(lambda: client.get(QUOTA, token=text).status == 401, "the revoked token ends", 3)
        expect_same("revoked", world.json("tokens", "list")[0]["state"], "its state")


@test("a token expires by itself; a customer's sees its own account, another's as a missing one")
def serve_token_limits(world: World) -> None:
    apply_accounts(world)
    soon = datetime.now(timezone.utc) + timedelta(seconds=4)
    with serve(world) as server:
        brief = new_token(world, "finance", None, "--expires", soon.isoformat())
        client = Client(server.url)
        expect_same(200, client.get(QUOTA, token=brief).status, "before it expires")
        customer = server.client("customer", "acme")
        expect_same(200, customer.get(QUOTA).status, "its own")
        others = customer.get("/v1/accounts/other/quota")
        missing = customer.get("/v1/accounts/nobody/quota")
        expect_same((404, 404), (others.status, missing.status), "another's and a missing one")
        bodies = [reply.json | {"instance": ""} for reply in (others, missing)]
        expect_same(bodies[0], bodies[1], "what both say")
        reply = customer.get("/v1/accounts")
        expect_same((403, "forbidden"), (reply.status, reply.problem), "what its role may not")
        until(lambda: client.get(QUOTA, token=brief).status == 401, "it expires", 6)


@test("tokens that make no sense are refused, with a message")
def token_usage(world: World) -> None:
    apply_accounts(world)
    create = ("tokens", "create", "--role")
    world.tally(*create, "customer", exit=2)
    world.tally(*create, "customer", "--account", "nobody", exit=2)
    world.tally(*create, "admin", "--account", "acme", exit=2)
    world.tally(*create, "king", exit=2)
    world.tally(*create, "admin", "--expires", "2020-01-01", exit=2)
    world.tally("tokens", "revoke", "nonsense", exit=2)
    world.tally("tokens", "revoke", "0" * 16, exit=2)
    ran = world.tally(*create, "customer", "--account", "acme")
    expect(ran.stdout.startswith("tally_") and ran.stdout.count("\n") == 1, str(ran))
    expect(ran.stdout.strip() not in ran.stderr, "the token is on standard error too")


# ---- routes, as such ----


@test("paths, methods and media types are refused in their order, and always as problems")
def serve_refusals(world: World) -> None:
    apply_accounts(world)
    with serve(world) as server:
        none, finance = server.client(None), server.client("finance")
        asker = server.client("orchestrator")
        rows = [
            (none, "GET", "/nowhere", None, {}, 404, "not-found"),
            (none, "GET", QUOTA + "/", None, {}, 404, "not-found"),
            (none, "PUT", QUOTA, None, {}, 405, "method-not-allowed"),
            (none, "GET", QUOTA, None, {}, 401, "unauthenticated"),
            (finance, "POST", "/v1/quota/reservations", b"x", {}, 403, "forbidden"),
            (asker, "POST", "/v1/quota/reservations", b"x", {"Content-Type": "text/plain"}, 415, "media-type"),
            (asker, "POST", "/v1/quota/reservations", b"x", {"Content-Type": "application/json"}, 400, "bad-request"),
            (finance, "GET", "/v1/accounts/%ff/usage", None, {}, 400, "bad-request"),
            (finance, "GET", QUOTA + "?x=1", None, {}, 400, "bad-request"),
            (finance, "GET", "/v1/accounts/nobody/usage", None, {}, 404, "not-found"),
            (finance, "GET", "/v1/invoices/NONE.pdf", None, {}, 404, "not-found"),
        ]
        for client, method, path, body, headers, status, problem in rows:
            reply = client.request(method, path, body, headers=headers)
            expect_same((status, problem), (reply.status, reply.problem), f"{method} {path}")
            expect(reply.json["instance"] == "urn:tally:request:" + reply.headers["x-request-id"], str(reply))
        allow = none.request("PUT", "/v1/quota/reservations/acme/v1").headers["allow"]
        expect_same("GET, HEAD, DELETE", allow, "Allow")
        head = finance.request("HEAD", QUOTA)
        expect_same((200, b""), (head.status, head.body), "HEAD")


# ---- the process ----


@test("it starts before the database, says so on /readyz, and recovers when that comes and goes", seconds=120)
def serve_without_database(world: World) -> None:
    world.own_postgres()
    apply_accounts(world)
    with serve(world) as server:
        client = server.client("finance")
        expect_same(200, client.get(QUOTA).status, "while all is well")
        ready = Client(server.url).get("/readyz").json
        expect_same(("ready", "ok", "ok", []),
                    tuple(ready[k] for k in ("status", "database", "schema", "partitions")), "/readyz")
        world.postgres.stop(signal.SIGQUIT)
        until(lambda: serving.readiness(server).status == 503, "/readyz says so", 10)
        begun(server)
        began = time.monotonic()
        for path in (QUOTA, "/v1/accounts"):
            reply = client.get(path)
            expect_same((503, "unavailable"), (reply.status, reply.problem), path)
            expect("retry-after" in reply.headers, str(reply))
        expect(time.monotonic() - began < 15, "answers are late")
        world.postgres.start()
        until(lambda: serving.readiness(server).status == 200, "/readyz recovers", 30)
        until(lambda: client.get(QUOTA).status == 200, "quota recovers", 10)
        until(lambda: client.get("/v1/accounts").status == 200, "readers recover", 10)


@test("a database that hangs makes no request wait longer than the deadline", seconds=120)
def serve_stuck_database(world: World) -> None:
    world.own_postgres()
    apply_accounts(world)
    with serve(world, "--deadline-ms", "1500") as server:
        client = server.client("finance")
        expect_same(200, client.get("/v1/accounts").status, "while all is well")
        pids = world.psql("SELECT pid FROM pg_stat_activity").split() + [world.postgres.process.pid]
        signal_all(pids, signal.SIGSTOP)
        try:
            for path in ("/v1/accounts", QUOTA, "/v1/accounts"):
                began = time.monotonic()
                reply = client.get(path)
                took = time.monotonic() - began
                expect_same((503, "unavailable"), (reply.status, reply.problem), path)
                expect(took < 4, f"{path} took {took:.1f} s")
            until(lambda: serving.readiness(server).status == 503, "/readyz says so", 8)
            began = time.monotonic()
            begun(server)
            expect(time.monotonic() - began < 1, "/healthz is late")
        finally:
            signal_all(pids, signal.SIGCONT)
        until(lambda: client.get("/v1/accounts").status == 200, "readers recover", 15)
        until(lambda: client.get(QUOTA).status == 200, "quota recovers", 15)


@test("an older schema is served 503, and named by /readyz; after migrating it is ready")
def serve_old_schema(world: World) -> None:
    newest = world.psql("SELECT max(version) FROM schema_migration").strip()
    world.psql(f"CREATE TABLE kept AS SELECT * FROM schema_migration; DELETE FROM schema_migration WHERE version = {newest}")
    with serve(world, ready=False) as server:
        reply = serving.readiness(server)
        expect_same((503, "unavailable"), (reply.status, reply.problem), "/readyz")
        expect("tally migrate" in reply.json["detail"], str(reply))
        begun(server)
        world.psql(f"INSERT INTO schema_migration SELECT * FROM kept WHERE version = {newest}")
        until(lambda: serving.readiness(server).status == 200, "/readyz recovers", 10)


@test("SIGTERM: what was taken is answered, nothing new is taken, and it exits with 0")
def serve_stops_in_order(world: World) -> None:
    apply_accounts(world)
    for number in (signal.SIGTERM, signal.SIGINT):
        server = serve(world)
        client = server.client("orchestrator")
        expect_same(201, client.reserve("acme", f"vm-{number}").status, "a reservation")
        lock = subprocess.Popen(
            ["psql", "-qX", "-h", world.postgres.folder, "-U", "postgres", world.database, "-c",
             "BEGIN; SELECT FROM quota WHERE account = 'acme' FOR UPDATE; SELECT pg_sleep(2); COMMIT"],
            stdout=subprocess.DEVNULL,
        )
        time.sleep(0.5)
        replies = []
        asking = threading.Thread(target=lambda: replies.append(client.reserve("acme", f"late-{number}")))
        asking.start()
        time.sleep(0.5)
        server.process.send_signal(number)
        time.sleep(0.3)
        try:
            Client(server.url, seconds=2).get("/healthz")
            expect(False, "a new connection was taken")
        except OSError:
            pass
        asking.join(20)
        expect_same([201], [reply.status for reply in replies], "what was taken")
        expect_same(0, server.process.wait(20), "the exit status")
        expect_same(0, lock.wait(20), "psql's exit status")
        said = [line["message"] for line in server.lines()]
        expect(said[-1] == "stopped", f"the last line: {said[-3:]}")


@test("TLS: with a certificate it speaks HTTPS; without one it does not listen to others")
def serve_tls(world: World) -> None:
    if shutil.which("openssl") is None:
        raise Skipped("needs openssl to make a certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
         "-days", "2", "-subj", "/CN=localhost"],
        cwd=world.folder, check=True, capture_output=True,
    )
    with serve(world, "--tls-cert", "cert.pem", "--tls-key", "key.pem") as server:
        expect(server.url.startswith("https://"), server.url)
        begun(server)
        with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            plain.settimeout(5)
            expect(b"200 OK" not in plain.recv(1000), "it speaks HTTP on the same port")
    refused = world.tally("serve", "--listen", "0.0.0.0:0", "--metrics-listen", "127.0.0.1:0", exit=2)
    expect("--tls-cert" in refused.stderr, str(refused))
    world.tally("serve", "--tls-cert", "cert.pem", exit=2)
    world.tally("serve", "--tls-cert", "key.pem", "--tls-key", "nothing.pem", exit=2)
    with serve(world, "--insecure", listen="0.0.0.0:0"):
        pass


@test("metrics: requests by route and status, with latencies, on a listener of their own")
def serve_metrics(world: World) -> None:
    apply_accounts(world)
    with serve(world) as server:
        client = server.client("finance")
        for _ in range(3):
            client.get(QUOTA)
        client.get("/v1/accounts/nobody/quota")
        client.get("/somewhere/else")

        def counted() -> dict[str, float]:
            found = {name: value for name, value in server.metrics().items()
                     if name.startswith("tally_http_requests_total")}
            return found if sum(found.values()) >= 6 else {}

        found = until(counted, "all are counted", 10)
        label = '{route="/v1/accounts/{account}/quota",method="GET",status='
        expect_same(3, found.get(f'tally_http_requests_total{label}"200"}}'), f"of {found}")
        expect_same(1, found.get(f'tally_http_requests_total{label}"404"}}'), f"of {found}")
        expect_same(1, found.get('tally_http_requests_total{route="unmatched",method="any",status="404"}'),
                    f"of {found}")
        series = server.metrics()
        count = 'tally_http_request_seconds_count{route="/v1/accounts/{account}/quota",method="GET"}'
        expect_same(4, series.get(count), f"of {sorted(series)}")
        expect_same(404, Client(server.url).get("/metrics").status, "/metrics on the other listener")
        parts = urlsplit(server.metrics_url)
        expect_same(404, Client(f"http://{parts.netloc}").get("/healthz").status, "/healthz on this one")


@test("the log is a JSON object a line, with ids that the caller sent")
def serve_logs(world: World) -> None:
    apply_accounts(world)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with serve(world, "--log-requests") as server:
        client = server.client("finance")
        sent = {"X-Request-Id": "mine-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        reply = client.get(QUOTA, headers=sent)
        expect_same("mine-1", reply.headers.get("x-request-id"), "X-Request-Id")
        line = until(
            lambda: next((row for row in server.lines() if row.get("request_id") == "mine-1"), None),
            "its line", 5,
        )
        expect_same(
            ("request", "GET", "/v1/accounts/{account}/quota", 200, trace, token_id(client.token or "")),
            tuple(line.get(k) for k in ("message", "method", "route", "status", "trace_id", "token")),
            "the line",
        )
        for row in server.log.read_bytes().splitlines():
            expect(isinstance(json.loads(row), dict), f"not an object: {row!r}")
        expect((client.token or "").split("_")[2] not in server.log.read_text(), "a secret is logged")


@test("several servers on a host: who finds the default metrics port taken serves without; a port that was named must be free")
def serve_several(world: World) -> None:
    processes, logs = [], []
    try:
        for n in range(2):
            logs.append(world.folder / f"several{n}.log")
            with open(logs[n], "wb") as log:
                processes.append(world.start("serve", "--listen", "127.0.0.1:0", stdout=log, stderr=log))
            until(lambda n=n: "serving on http://" in logs[n].read_text(), f"server {n} serves", 20)
        expect("no metrics: the default port is taken" in logs[1].read_text(), logs[1].read_text())
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            busy = f"127.0.0.1:{taken.getsockname()[1]}"
            for named in (("--listen", "127.0.0.1:0", "--metrics-listen", busy), ("--listen", busy)):
                ran = world.tally("serve", *named, exit=1)
                expect("cannot listen on 127.0.0.1" in ran.stderr, str(ran))
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
            expect_same(0, process.wait(20), "exit after SIGTERM")
