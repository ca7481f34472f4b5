# SPDX-License-Identifier: Apache-2.0
"""/openapi.json says what is so: it has the routes that the service has, and real answers are as it
describes them."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

from harness import Skipped, World, expect, expect_same, test, until
from openapi import ANYONE, SOURCE, Description, Operation, problem_table, routes, source
from serving import PROBLEM, Client, Reply, Server, readiness, retried, serve
from small import ACCOUNT, MISSING, OTHER, RUNNING, VM, furnish, invoice_of, last_period

NO_INVOICE = "INV-2001-000001"
FREE_VM = "free-1"  # nobody asks for a slot for it
LARGE = b'{"account":"' + b"a" * 70_000 + b'"}'


# ---- with itself ----


@test("the description is consistent: references, examples, roles, problems")
def description_is_sound(world: World) -> None:
    with serve(world) as server:
        description = Description.of(server.client(None))
    if text := source("api/openapi.json"):
        expect_same(json.loads(text), description.document, "what was built in")
    expect_same([], list(unresolved(description)), "references")
    expect_same([], list(unused(description)), "components that nothing uses")
    expect_same([], list(bad_examples(description, description.document)), "examples")
    ids = [operation.id for operation in description.operations]
    expect_same(sorted(set(ids)), sorted(ids), "operationIds")
    for operation in description.operations:
        secured = operation.described["security"] == [{"bearer": []}]
        expect_same(operation.roles != {ANYONE}, secured, f"{operation.id} has a credential")
        expect(secured == ("admin" in operation.roles), f"{operation.id}: admin may all")
        expect_same(secured, 401 in description.answers(operation), f"{operation.id}: 401")
        named = {p["name"] for p in description.parameters(operation) if p["in"] == "path"}
        expect_same(set(operation.variables), named, f"{operation.id}: variables of its path")
        body = "requestBody" in operation.described
        expect_same(body, 413 in description.answers(operation), f"{operation.id}: 413")
        for status, answer in description.answers(operation).items():
            for media, content in answer.get("content", {}).items():
                expect(media != PROBLEM or status >= 400, f"{operation.id}: {status} is no problem")
                expect("example" in content or "examples" in content,
                       f"{operation.id}: {status} {media} has no example")
    for status in {problem["status"] for problem in description.problems.values()}:
        kinds = description.document["components"]["schemas"][f"Problem{status}"]
        listed = [p["type"] for p in description.problems.values() if p["status"] == status]
        expect_same(listed, kinds["properties"]["type"]["enum"], f"problems of status {status}")


def references(thing: Any) -> Iterator[str]:
    if isinstance(thing, dict):
        if isinstance(thing.get("$ref"), str):
            yield thing["$ref"]
        for value in thing.values():
            yield from references(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from references(value)


def unresolved(description: Description) -> Iterator[str]:
    for reference in references(description.document):
        try:
            description.schemas.at(reference)
        except KeyError:
            yield reference


def unused(description: Description) -> Iterator[str]:
    used = set(references(description.document))
    for kind, parts in description.document["components"].items():
        for name in parts:
            # 405 and 406 answer for every path, and are described by their problem alone
            if kind != "securitySchemes" and f"#/components/{kind}/{name}" not in used:
                if not re.fullmatch(r"Problem40[56]", name):
                    yield f"{kind}/{name}"


def bad_examples(description: Description, thing: Any, where: str = "#") -> Iterator[str]:
    """Wherever an example stands beside a schema."""
    if isinstance(thing, list):
        for i, value in enumerate(thing):
            yield from bad_examples(description, value, f"{where}/{i}")
    if not isinstance(thing, dict):
        return
    if isinstance(thing.get("schema"), dict):
        examples = [thing["example"]] if "example" in thing else []
        examples += [named["value"] for named in thing.get("examples", {}).values()]
        for example in examples:
            for error in description.schemas.errors(example, thing["schema"]):
                yield f"{where}: {error}"
    for name, value in thing.items():
        if name not in ("example", "examples"):
            yield from bad_examples(description, value, f"{where}/{name}")


# ---- with the router ----


@test("the description has the router's routes with their roles, and the table of problems")
def description_is_the_routers(world: World) -> None:
    if not source("api/routes.c"):
        raise Skipped(f"there are no sources at {SOURCE}")
    with serve(world) as server:
        description = Description.of(server.client(None))
    described = {(o.method, o.path): o.roles for o in description.operations}
    named = {(m, re.sub(r"\{\w+\}", "{}", p)): roles for (m, p), roles in described.items()}
    table = {(m, re.sub(r"\{\w+\}", "{}", p)): roles for (m, p), roles in routes().items()}
    table.pop(("GET", "/metrics"), None)
    expect_same(table, named, "routes and roles")
    listed = {name: (p["status"], p["title"]) for name, p in description.problems.items()}
    expect_same(problem_table(), listed, "problems, with status and title")


@test("every described path has exactly the described methods; the others are 405 with Allow")
def methods(world: World) -> None:
    with serve(world) as server:
        client = server.client("admin")
        description = Description.of(client)
        known: dict[str, set[str]] = {}
        for operation in description.operations:
            known.setdefault(operation.path, set()).add(operation.method)
        for path, described in known.items():
            first = next(o for o in description.operations if o.path == path)
            at = first.at(account=MISSING, vm=VM, number=NO_INVOICE)
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
                reply = client.request(method, at)
                if method in described:
                    expect(reply.status not in (405, 501), str(reply))
                    continue
                description.check(None, reply, 405)
                allowed = {m.strip() for m in reply.headers.get("allow", "").split(",")}
                expect_same(described, allowed - {"HEAD"}, f"Allow of {path}")
        for path in ("/v1", "/v1/", "/v1/nothing", "/v1/accounts/", "/v1/accounts/acme",
                     "/v1/accounts/acme/usage/", "//healthz", "/openapi.yaml"):
            reply = description.check(None, client.get(path), 404)
            expect_same("not-found", reply.problem, f"GET {path}")


# ---- with real answers ----


class Asking:
    """Asks, and holds every answer against the description; keeps what was seen."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = server.client("admin")
        self.description = Description.of(self.client)
        self.problems: set[str] = set()
        self.answered: set[tuple[str, int]] = set()

    def __call__(
        self, id: str, status: int, body: Any = None, query: dict[str, Any] | None = None,
        problem: str = "", headers: dict[str, str] | None = None, client: Client | None = None,
        **variables: str,
    ) -> Reply:
        operation = self.description.operation(id)
        path = operation.at(**{"account": ACCOUNT, "vm": VM, "number": NO_INVOICE, **variables})
        reply = (client or self.client).request(
            operation.method, path, body, query=query, headers=headers)
        self.description.check(operation, reply, status)
        if problem or status >= 400:
            expect_same(problem, reply.problem, f"the problem of {reply}")
            self.problems.add(problem)
        self.answered.add((id, status))
        return reply


@test("real answers of every route, good and bad, are as described", seconds=90)
def answers(world: World) -> None:
    furnish(world)
    with serve(world) as server:
        ask = Asking(server)
        quota_answers(ask)
        usage_answers(ask)
        billing_answers(ask, world)
        for path_alone in ("healthz", "readyz", "openapi"):
            ask(path_alone, 200)
        tag = ask("openapi", 200).headers["etag"]
        ask("openapi", 304, headers={"If-None-Match": tag})
        ask("openapi", 200, headers={"If-None-Match": '"other"'})
        refusals(ask)
        missing = [
            operation.id for operation in ask.description.operations
            if not any(id == operation.id and status < 300 for id, status in ask.answered)
        ]
        expect_same([], missing, "operations without a good answer")
        # what only a broken service says, or one that has much to do
        rest = {"internal", "unavailable", "catching-up", "busy", "too-many-rows",
                "method-not-allowed"}
        expect_same(set(ask.description.problems) - rest, ask.problems - rest, "problems seen")


def quota_answers(ask: Asking) -> None:
    def body(account: str = ACCOUNT, vm: str = VM, **size: Any) -> dict[str, Any]:
        return {"account": account, "vm": vm, **(size or {"size": "nano"})}

    ask("showReservation", 404, problem="not-found")
    ask("release", 404, problem="not-found")
    made = ask("reserve", 201, body())
    expect(made.headers["location"].endswith(f"/{ACCOUNT}/{VM}"), str(made))
    ask("showReservation", 200)
    ask("reserve", 200, body(size="NANO"))
    ask("release", 409, query={"reservation": made.json["id"]}, problem="conflict")  # renewed
    ask("release", 204)
    ask("reserve", 200, body(vm=RUNNING))
    ask("reserve", 201, body(vm="by-resources", millicpu=1250, memory_bytes=2**31))
    ask("reserve", 201, body("unlimited"))
    ask("showReservation", 200, vm=RUNNING)
    ask("release", 409, vm=RUNNING, problem="conflict")
    ask("release", 204, vm=RUNNING, query={"stopped": "true"})
    ask("reserve", 404, body(MISSING), problem="not-found")
    ask("reserve", 403, body("paused"), problem="suspended")
    ask("reserve", 403, body("gone"), problem="no-plan")
    ask("reserve", 402, body("spent"), problem="spend-limit")
    ask("reserve", 402, body("dry"), problem="credits-exhausted")
    full = ask("reserve", 429, body("full", FREE_VM), problem="concurrency-limit")
    expect_same((1, 1), (full.json["limit"], full.json["in_use"]), "limit and slots in use")
    for bad in ({"size": "giant"}, {"size": ""}, {"size": 5}, {"millicpu": 300, "memory_bytes": 1},
                {"millicpu": 250}, {"millicpu": 10**15, "memory_bytes": 10**15}, {"vm": "a b"},
                {"account": None}):
        ask("reserve", 400, body() | ({"size": None} | bad), problem="bad-request")
    for raw in (b"", b"{", b"[]", b'{"account":"acme","account":"acme"}', b"\xff{}"):
        headers = {"Content-Type": "application/json"}
        ask("reserve", 400, raw, headers=headers, problem="bad-request")
    for account in (ACCOUNT, "unlimited", "gone", "paused", "spent", "full", "builder", "dry"):
        ask("showQuota", 200, account=account)
    ask("showQuota", 404, account=MISSING, problem="not-found")


def usage_answers(ask: Asking) -> None:
    last = last_period()
    for window in ("hour", "day", "month", "total"):
        for group in ("size", "vm", "none"):
            query = {"from": f"{last}-01", "window": window, "group_by": group}
            rows = ask("showUsage", 200, query=query).json["rows"]
            expect(rows, f"usage by {window} and {group} has rows")
            csv = ask("showUsage", 200, query=query, headers={"Accept": "text/csv"})
            expect_same("text/csv", csv.media_type, "the media type that was asked for")
            expect_same(len(rows), csv.text.count("\r\n") - 1, "rows of CSV")
    ask("showUsage", 200)
    ask("listRuns", 200)
    first = ask("listRuns", 200, query={"limit": 1}).json
    second = ask("listRuns", 200, query={"limit": 1, "cursor": first["next_cursor"]}).json
    expect(first["runs"][0]["start"] >= second["runs"][0]["start"], "newest first")
    ask("listRuns", 200, query={"vm": VM, "from": f"{last}-01", "to": f"{last}-03T00:00:00Z"})
    bad: dict[str, list[dict[str, Any]]] = {
        "showUsage": [{"from": "2026-02-30"}, {"from": "1999-01-01"}, {"to": "soon"},
                      {"window": "week"}, {"group_by": "colour"}, {"form": "csv"},
                      {"from": "2026-02-01", "to": "2026-01-01"}],
        "listRuns": [{"limit": 0}, {"limit": 1001}, {"limit": "ten"}, {"cursor": "x"}, {"vm": "a b"},
                     {"from": "2026-02-01", "to": "2026-02-01"}],
    }
    for id, queries in bad.items():
        for query in queries:
            ask(id, 400, query=query, problem="bad-request")
        ask(id, 404, account=MISSING, problem="not-found")


def billing_answers(ask: Asking, world: World) -> None:
    own = invoice_of(world, ACCOUNT)
    for account in (ACCOUNT, OTHER, "builder", "gone"):
        ask("showCredits", 200, account=account)
        ask("showUpcoming", 200, account=account)
    expect(ask("showCredits", 200).json["grants"], "there are grants")
    listed = ask("listInvoices", 200).json["invoices"]
    expect_same([own], [invoice["number"] for invoice in listed], "issued invoices")
    ask("listInvoices", 400, query={"cursor": "x"}, problem="bad-request")
    for invoice in listed:
        same = ask("showInvoice", 200, number=invoice["number"]).json
        expect_same(invoice, same, "the invoice, listed and alone")
    alone = ask("showInvoice", 200, number=own).json
    expect_same(alone, ask("showInvoiceJson", 200, number=own).json, "the same by its form")
    explained = ask("explainInvoice", 200, number=own).json
    expect_same(True, explained["totals"]["complete"], "what the runs make up")
    for number in (NO_INVOICE, "nothing", "INV-2026-000001.gif"):
        for id in ("showInvoice", "explainInvoice"):
            ask(id, 404, number=number, problem="not-found")
    for id in ("showCredits", "showUpcoming", "listInvoices"):
        ask(id, 404, account=MISSING, problem="not-found")
    ask("listAccounts", 200)
    page = ask("listAccounts", 200, query={"limit": 2}).json
    ask("listAccounts", 200, query={"limit": 2, "cursor": page["next_cursor"]})
    found = ask("listAccounts", 200, query={"query": "ACME"}).json["accounts"]
    expect_same([ACCOUNT], [account["id"] for account in found], "accounts found")
    estimate_answers(ask)


def estimate_answers(ask: Asking) -> None:
    body = ask.description.operation("estimate").described["requestBody"]["content"]
    example: dict[str, Any] = body["application/json"]["example"]
    expect_same("1223.57", ask("estimate", 200, example).json["total"], "the worked example")
    item = example["items"][0]
    ask("estimate", 200, {"plan": "build", "items": []})
    for bad in ({"plan": "gold"}, {"items": {}}, {"plan": None}, {"extra": 1},
                {"items": [item | {"size": "giant"}]}, {"items": [item | {"vms": -1}]},
                {"items": [item | {"hours_per_day": 3}]}, {"items": [item | {"days": 32}]},
                {"items": [{}]}, {"items": [item | {"hours_per_day": "24.01"}]}):
        ask("estimate", 400, example | bad, problem="bad-request")
    ask("estimate", 413, LARGE, headers={"Content-Type": "application/json"}, problem="too-large")
    ask("estimate", 415, b"{}", headers={"Content-Type": "text/plain"}, problem="media-type")


def refusals(ask: Asking) -> None:
    """What is the same for every route."""
    nobody = ask.server.client(None)
    roles = {role: ask.server.client(role, ACCOUNT if role == "customer" else None)
             for role in ("orchestrator", "finance", "customer")}
    for operation in ask.description.operations:
        if operation.roles != {ANYONE}:
            ask(operation.id, 401, client=nobody, problem="unauthenticated")
        for role, client in roles.items():
            if operation.roles != {ANYONE} and role not in operation.roles:
                ask(operation.id, 403, client=client, problem="forbidden")
        many = {f"X-{i}": "1" for i in range(200)}
        ask(operation.id, 431, headers=many, problem="headers-too-large")
        ask(operation.id, 414, query={"q": "1" * 9000}, problem="target-too-long")
        if "requestBody" not in operation.described:
            ask(operation.id, 400, query={"nonsense": "1"}, problem="bad-request")


# ---- without a database ----


@test("without the database: 503 as described where it is needed, and all else goes on", seconds=120)
def database_away(world: World) -> None:
    world.own_postgres()
    furnish(world)
    with serve(world, "--deadline-ms", "1000") as server:
        ask = Asking(server)
        ask("showUsage", 200)
        bodies = {"reserve": {"account": ACCOUNT, "vm": VM, "size": "pico"},
                  "estimate": {"plan": "scale", "items": []}}
        world.postgres.stop(signal.SIGQUIT)
        for operation in ask.description.operations:
            if operation.id in ("healthz", "openapi"):
                ask(operation.id, 200)
                continue
            if operation.id == "readyz":
                until(lambda: readiness(server).status == 503, "/readyz says so")
            reply = operation_without(ask, operation, bodies.get(operation.id))
            ask.description.check(operation, reply, 503)
            expect_same("unavailable", reply.problem, f"the problem of {reply}")
            expect("retry-after" in reply.headers, f"no Retry-After: {reply}")
        world.postgres.start()
        until(lambda: readiness(server).status == 200, "/readyz says 200")
        ask("readyz", 200)
        made = retried(lambda: ask.client.reserve(ACCOUNT, VM))
        ask.description.check(ask.description.operation("reserve"), made, 201)
    world.postgres.stop()


def operation_without(ask: Asking, operation: Operation, body: Any) -> Reply:
    path = operation.at(account=ACCOUNT, vm=VM, number=NO_INVOICE)
    return ask.client.request(operation.method, path, body)
