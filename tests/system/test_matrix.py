# SPDX-License-Identifier: Apache-2.0
"""Who may what: every route, asked with every kind of credential for one's own, another's and what
does not exist. What is expected follows from x-roles and the rules alone."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from harness import World, expect, expect_same, test
from openapi import ANYONE, Description, Operation
from serving import ROLES, Client, Reply, Server, new_token, revoke, serve, token
from small import ACCOUNT, MISSING, OTHER, VM, furnish, invoice_of, now

NO_INVOICE = "INV-2001-000001"
BODIES: dict[str, Any] = {
    "reserve": {"vm": VM, "size": "pico"},
    "estimate": {"plan": "scale", "items": []},
}


@dataclass
class Credential:
    name: str
    authorization: str | None
    role: str | None  # None: it is not valid


def credentials(world: World) -> list[Credential]:
    soon = (now() + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    expired = new_token(world, "admin", None, "--expires", soon)
    revoked = new_token(world, "admin")
    revoke(world, revoked)
    good = {role: token(world, role, ACCOUNT if role == "customer" else None) for role in ROLES}
    known, other = good["admin"], good["finance"]
    mixed = known.rsplit("_", 1)[0] + "_" + other.rsplit("_", 1)[1]
    time.sleep(1.5)
    invalid = {
        "none": None,
        "unknown": "Bearer tally_0000000000000000_" + "0" * 32,
        "another's secret": f"Bearer {mixed}",
        "cut": f"Bearer {known[:-1]}",
        "longer": f"Bearer {known}0",
        "another scheme": f"Basic {known}",
        "no scheme": known,
        "empty": "Bearer ",
        "expired": f"Bearer {expired}",
        "revoked": f"Bearer {revoked}",
    }
    return [Credential(name, text, None) for name, text in invalid.items()] + [
        Credential(role, f"Bearer {text}", role) for role, text in good.items()
    ]


class Matrix:
    def __init__(self, world: World, server: Server) -> None:
        self.admin = server.client("admin")
        self.asking = server.client(None)
        self.described = Description.of(self.asking)
        self.invoices = {name: invoice_of(world, name) for name in (ACCOUNT, OTHER)}
        self.invoices[MISSING] = NO_INVOICE
        self.failures: list[str] = []
        self.asked: Counter[int] = Counter()

    def prepare(self, operation: Operation, account: str) -> None:
        """So that it succeeds for whoever may: the VM holds a slot, or none."""
        if account == MISSING or "vm" not in operation.variables + ["vm"] * (operation.id == "reserve"):
            return
        if operation.id == "reserve":
            self.admin.release(account, VM)
        else:
            expect(self.admin.reserve(account, VM).status in (200, 201), "the slot was granted")

    def ask(self, operation: Operation, credential: Credential, account: str) -> Reply:
        path = operation.at(account=account, vm=VM, number=self.invoices[account])
        body = BODIES.get(operation.id)
        if operation.id == "reserve":
            body = {"account": account, **body}
        headers = {} if credential.authorization is None else {
            "Authorization": credential.authorization}
        return self.asking.request(operation.method, path, body, headers=headers)

    def expected(self, operation: Operation, credential: Credential, account: str) -> set[int]:
        success = {status for status in self.described.answers(operation) if status < 300}
        if operation.roles == {ANYONE}:
            return success
        if credential.role is None:
            return {401}
        if credential.role not in operation.roles:
            return {403}
        if concerns_account(operation):
            foreign = credential.role == "customer" and account != ACCOUNT
            if foreign or account == MISSING:
                return {404}
        return success

    def one(self, operation: Operation, credential: Credential, account: str) -> Reply:
        self.prepare(operation, account)
        reply = self.ask(operation, credential, account)
        expected = self.expected(operation, credential, account)
        wrong = self.described.wrong(operation, reply)
        if reply.status not in expected:
            wrong.insert(0, f"expected {sorted(expected)}, got {reply.status}")
        if reply.status == 403 and reply.problem != "forbidden":
            wrong.append("the problem is not that the role may not")
        self.asked[reply.status] += 1
        self.failures += [f"{operation.id} as {credential.name} for {account}: {w}" for w in wrong]
        return reply

    def same(self, operation: Operation, role: str, others: Reply, missing: Reply) -> None:
        """Nothing tells a customer what is another's from what does not exist."""
        for name in set(others.headers) | set(missing.headers):
            if name not in ("date", "x-request-id") and others.headers.get(name) != missing.headers.get(name):
                self.failures.append(f"{operation.id} as {role}: the header {name} differs")
        left, right = self.plain(others, OTHER), self.plain(missing, MISSING)
        if left != right:
            self.failures.append(f"{operation.id} as {role}: {left} is not {right}")

    def plain(self, reply: Reply, account: str) -> str:
        """The body without what the asker has sent himself, and without the request's id."""
        text = reply.text.replace(self.invoices[account], "NUMBER").replace(account, "ACCOUNT")
        return text.replace(reply.headers.get("x-request-id", "\0"), "ID")


def concerns_account(operation: Operation) -> bool:
    return operation.id == "reserve" or bool(operation.variables)


@test("every route, with every kind of credential, for one's own, another's and what is missing",
      seconds=120)
def who_may_what(world: World) -> None:
    furnish(world)
    with serve(world) as server:
        matrix = Matrix(world, server)
        everyone = credentials(world)
        for operation in matrix.described.operations:
            for credential in everyone:
                accounts = (ACCOUNT, OTHER, MISSING) if concerns_account(operation) else (ACCOUNT,)
                replies = {a: matrix.one(operation, credential, a) for a in accounts}
                if credential.role == "customer" and replies[ACCOUNT].status < 300 and len(replies) > 1:
                    matrix.same(operation, credential.role, replies[OTHER], replies[MISSING])
        expect_same([], matrix.failures, "what was refused and what was not")
        for status in (200, 201, 204, 401, 403, 404):
            expect(matrix.asked[status], f"nothing was answered {status}")


@test("a token that is revoked, or expires, while it is in use is refused within seconds", seconds=60)
def tokens_end(world: World) -> None:
    furnish(world)
    path = f"/v1/accounts/{ACCOUNT}/usage"
    with serve(world) as server:
        expires = (now() + timedelta(seconds=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
        revoked = new_token(world, "finance")
        expiring = new_token(world, "customer", ACCOUNT, "--expires", expires)
        clients = [Client(server.url, text) for text in (revoked, expiring)]
        for client in clients:
            expect_same(200, client.get(path).status, "what a good token may")
        revoke(world, revoked)
        deadline = time.monotonic() + 6
        while {client.get(path).status for client in clients} != {401}:
            expect(time.monotonic() < deadline, "a revoked or expired token is still good after 6 s")
            time.sleep(0.2)
