# SPDX-License-Identifier: Apache-2.0
"""A validator for JSON Schema, as far as api/openapi.json uses it: written to be obviously right.

A keyword that it does not know is an error, so that nothing in the description goes unchecked."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

ANNOTATIONS = {"description", "title", "default", "example", "examples", "deprecated"}
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
}


class Schemas:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def resolve(self, thing: Any) -> Any:
        """What a reference refers to; anything else as it is."""
        while isinstance(thing, dict) and "$ref" in thing and len(thing) == 1:
            thing = self.at(thing["$ref"])
        return thing

    def at(self, reference: str) -> Any:
        found = self.document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return found

    def errors(self, value: Any, schema: Any, where: str = "$") -> list[str]:
        """What is wrong with the value; empty where nothing is."""
        found: list[str] = []
        for keyword, rule in schema.items():
            if keyword in ANNOTATIONS:
                continue
            check = getattr(self, "_" + keyword.replace("$", ""), None)
            if check is None:
                found.append(f"{where}: the schema has the unknown keyword {keyword}")
            else:
                found += check(value, rule, where, schema)
        return found

    # ---- any ----
    def _ref(self, value: Any, rule: str, where: str, _: Any) -> list[str]:
        return self.errors(value, self.at(rule), where)

    def _type(self, value: Any, rule: Any, where: str, _: Any) -> list[str]:
        names = [rule] if isinstance(rule, str) else rule
        return [] if any(_is(value, name) for name in names) else [f"{where}: {value!r} is no {rule}"]

    def _enum(self, value: Any, rule: list[Any], where: str, _: Any) -> list[str]:
        same = any(type(value) is type(one) and value == one for one in rule)
        return [] if same else [f"{where}: {value!r} is none of {rule}"]

    def _const(self, value: Any, rule: Any, where: str, _: Any) -> list[str]:
        return self._enum(value, [rule], where, _)

    def _allOf(self, value: Any, rule: list[Any], where: str, _: Any) -> list[str]:
        return [error for schema in rule for error in self.errors(value, schema, where)]

    def _anyOf(self, value: Any, rule: list[Any], where: str, _: Any) -> list[str]:
        tried = [self.errors(value, schema, where) for schema in rule]
        return [] if any(not errors for errors in tried) else min(tried, key=len)

    # ---- text ----
    def _pattern(self, value: Any, rule: str, where: str, _: Any) -> list[str]:
        if not isinstance(value, str) or re.search(rule.replace("$", r"\Z"), value):
            return []
        return [f"{where}: {value!r} has not the form {rule}"]

    def _minLength(self, value: Any, rule: int, where: str, _: Any) -> list[str]:
        short = isinstance(value, str) and len(value) < rule
        return [f"{where}: {value!r} is shorter than {rule}"] if short else []

    def _maxLength(self, value: Any, rule: int, where: str, _: Any) -> list[str]:
        long = isinstance(value, str) and len(value) > rule
        return [f"{where}: {value!r} is longer than {rule}"] if long else []

    def _format(self, value: Any, rule: str, where: str, _: Any) -> list[str]:
        if not isinstance(value, str):
            return []
        try:
            if rule == "date":
                date.fromisoformat(value)
            elif rule == "date-time":
                datetime.fromisoformat(re.sub(r"\.(\d+)", _microseconds, value))
            else:
                return [f"{where}: the schema has the unknown format {rule}"]
        except ValueError:
            return [f"{where}: {value!r} is no {rule}"]
        return []

    # ---- numbers ----
    def _minimum(self, value: Any, rule: int, where: str, _: Any) -> list[str]:
        return [f"{where}: {value} is less than {rule}"] if _is(value, "integer") and value < rule else []

    def _maximum(self, value: Any, rule: int, where: str, _: Any) -> list[str]:
        return [f"{where}: {value} is more than {rule}"] if _is(value, "integer") and value > rule else []

    def _multipleOf(self, value: Any, rule: int, where: str, _: Any) -> list[str]:
        odd = _is(value, "integer") and value % rule
        return [f"{where}: {value} is no multiple of {rule}"] if odd else []

    # ---- arrays ----
    def _items(self, value: Any, rule: Any, where: str, _: Any) -> list[str]:
        if not isinstance(value, list):
            return []
        return [e for i, one in enumerate(value) for e in self.errors(one, rule, f"{where}[{i}]")]

    def _maxItems(self, value: Any, rule: int, where: str, _: Any) -> list[str]:
        many = isinstance(value, list) and len(value) > rule
        return [f"{where}: more than {rule} elements"] if many else []

    def _uniqueItems(self, value: Any, rule: bool, where: str, _: Any) -> list[str]:
        if not isinstance(value, list) or not rule:
            return []
        twice = [one for i, one in enumerate(value) if one in value[:i]]
        return [f"{where}: {one!r} is there twice" for one in twice]

    # ---- objects ----
    def _required(self, value: Any, rule: list[str], where: str, _: Any) -> list[str]:
        if not isinstance(value, dict):
            return []
        return [f"{where}: {name} is missing" for name in rule if name not in value]

    def _properties(self, value: Any, rule: dict[str, Any], where: str, _: Any) -> list[str]:
        if not isinstance(value, dict):
            return []
        known = [name for name in rule if name in value]
        return [e for name in known for e in self.errors(value[name], rule[name], f"{where}.{name}")]

    def _additionalProperties(self, value: Any, rule: bool, where: str, schema: Any) -> list[str]:
        if not isinstance(value, dict) or rule:
            return []
        unknown = [name for name in value if name not in schema.get("properties", {})]
        return [f"{where}: {name} is not described" for name in unknown]


def _is(value: Any, name: str) -> bool:
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def _microseconds(digits: re.Match[str]) -> str:
    return "." + digits[1][:6].ljust(6, "0")  # what Python 3.9 reads
