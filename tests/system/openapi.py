# SPDX-License-Identifier: Apache-2.0
"""The service's own description, as tests use it: which operations there are, who may, and whether
an answer is as it is described."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness import Failed, expect
from schema import Schemas
from serving import PROBLEM, Client, Reply

SOURCE = Path(__file__).resolve().parents[2]
ANYONE = "anyone"
# What any path may answer where nothing is described for it.
EVERYWHERE = {405: "method-not-allowed"}


@dataclass
class Operation:
    method: str
    path: str
    described: dict[str, Any]

    @property
    def id(self) -> str:
        return self.described["operationId"]

    @property
    def roles(self) -> set[str]:
        return set(self.described["x-roles"])

    @property
    def variables(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    def at(self, **variables: str) -> str:
        """The path with its variables filled in."""
        return re.sub(r"\{(\w+)\}", lambda v: quote(variables[v[1]], safe=""), self.path)


class Description:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.schemas = Schemas(document)
        self.operations = list(self._operations())
        self.problems = {p["name"]: p for p in document["x-problems"]}

    @staticmethod
    def of(client: Client) -> Description:
        reply = client.get("/openapi.json")
        expect(reply.status == 200, str(reply))
        return Description(reply.json)

    def _operations(self) -> Iterator[Operation]:
        for path, methods in self.document["paths"].items():
            for method, described in methods.items():
                yield Operation(method.upper(), path, described)

    def operation(self, id: str) -> Operation:
        return next(o for o in self.operations if o.id == id)

    def parameters(self, operation: Operation) -> list[dict[str, Any]]:
        return [self.schemas.resolve(p) for p in operation.described.get("parameters", [])]

    def answers(self, operation: Operation) -> dict[int, dict[str, Any]]:
        described = operation.described["responses"]
        return {int(status): self.schemas.resolve(answer) for status, answer in described.items()}

    def wrong(self, operation: Operation | None, reply: Reply) -> list[str]:
        """What is not as it is described; `operation` None: a path or method that is not."""
        if operation is None:
            return self._wrong_problem(reply)
        answer = self.answers(operation).get(reply.status)
        if answer is None:
            if reply.status in EVERYWHERE:
                return self._wrong_problem(reply)
            return [f"{reply.status} is not described for {operation.id}"]
        found = [f"the header {name} is missing"
                 for name in answer.get("headers", {}) if name.lower() not in reply.headers]
        content = answer.get("content")
        if content is None:
            return found + (["there is a body"] if reply.body else [])
        media = content.get(reply.media_type)
        if media is None:
            return found + [f"the media type {reply.media_type} is not described"]
        value = reply.json if reply.media_type.endswith("json") else reply.text
        found += self.schemas.errors(value, media["schema"])
        return found + (self._wrong_problem(reply) if reply.status >= 400 else [])

    def _wrong_problem(self, reply: Reply) -> list[str]:
        if reply.media_type != PROBLEM:
            return [f"{reply.media_type} is no problem"]
        found = self.schemas.errors(reply.json, {"$ref": "#/components/schemas/Problem"})
        if found:
            return found
        kind = self.problems.get(reply.problem)
        if kind is None:
            return found + [f"the problem {reply.problem} is not listed"]
        if (kind["status"], kind["title"]) != (reply.json.get("status"), reply.json.get("title")):
            found.append(f"status and title are not {kind['status']}, {kind['title']!r}")
        if reply.json["instance"] != f"urn:tally:request:{reply.headers.get('x-request-id')}":
            found.append("instance does not name this request, as X-Request-Id does")
        if reply.status != kind["status"]:
            found.append(f"{kind['name']} has status {kind['status']}")
        return found

    def check(self, operation: Operation | None, reply: Reply, *statuses: int) -> Reply:
        wrong = self.wrong(operation, reply)
        if statuses and reply.status not in statuses:
            wrong.insert(0, f"expected {' or '.join(map(str, statuses))}")
        if wrong:
            raise Failed("\n".join(wrong) + f"\n{reply}")
        return reply


# ---- the sources, where they are at hand ----


def source(path: str) -> str:
    """A source file's text; "" where the tests run without the sources."""
    file = SOURCE / path
    return file.read_text() if file.exists() else ""


def routes() -> dict[tuple[str, str], set[str]]:
    """The roles by method and path, as api/routes.c's table has them."""
    found: dict[tuple[str, str], set[str]] = {}
    text = re.sub(r"//[^\n]*", "", source("api/routes.c"))
    for name, literal in re.findall(r'#define (\w+) ("[^"]*")\n', text):
        text = re.sub(rf"(?<!define ){name}\b(?=\s*[\",])", lambda _: literal, text)
    text = re.sub(r'"\s*"', "", text)  # literals side by side are one
    named = dict(re.findall(r"(\w+) = ((?:[A-Z_]+\s*\|?\s*)+),", text))  # sets of roles
    for method, path, roles in re.findall(r'\{\s*"([A-Z]+)",\s*"([^"]+)",\s*([A-Z_|\s]+),', text):
        for _ in named:
            roles = re.sub(r"\b[A-Z_]+\b", lambda m: named.get(m[0], m[0]), roles)
        names = {name.lower() for name in re.findall(r"ROLE_(\w+)", roles)}
        found[(method, path)] = names if names == {ANYONE} else names | {"admin"}
    return found


def problem_table() -> dict[str, tuple[int, str]]:
    """Name to status and title, as the table of problems in api/ has them."""
    texts = [file.read_text() for file in sorted((SOURCE / "api").glob("*.c"))]
    row = r'\{\s*"([a-z-]+)",\s*([45]\d\d),\s*"([^"]+)"\s*\}'
    return {name: (int(status), title) for name, status, title in re.findall(row, "\n".join(texts))}
