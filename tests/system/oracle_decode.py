# SPDX-License-Identifier: Apache-2.0
"""Reading one structured CloudEvent: an event, or the reason why it is none.

Written from the contract (section 2) alone. The reasons are tried in the order in which the
contract lists them, so that of several the first counts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

SECOND = 1_000_000  # instants are microseconds since 1970
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE

BYTES_MAX = 64 * 1024
DEPTH_MAX = 32

METERED = ("started", "resized", "heartbeat", "hibernated", "stopped", "retracted")
KNOWN = METERED + ("created", "deleted", "forked", "snapshotted")
BOOTUPS = ("FORK", "CLEAN", "RESUME", "RUNNING")

ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
TYPE = re.compile(r"(?:.*\.)?vm\.([a-z]+)(?:\.v[0-9]+)?", re.ASCII | re.DOTALL)
TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


class Rejected(Exception):
    """The event goes to the dead letters."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True)
class Event:
    """An event as read. Two events of one identity are the same if all of this is equal."""

    account: str
    vm: str
    source: str
    id: str
    kind: str
    time: int
    sequence: str | None = None
    size: str | None = None
    millicpu: int | None = None
    memory_bytes: int | None = None
    bootup: str | None = None
    run: str | None = None
    reservation: str | None = None
    reason: str | None = None
    target: tuple[str, str] | None = None

    @property
    def identity(self) -> tuple[str, str]:
        return (self.source, self.id)


def day_of(instant: int) -> date:
    return date.fromordinal(date(1970, 1, 1).toordinal() + instant // DAY)


def midnight(day: date) -> int:
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY


def instant_of(text: str) -> int:
    """RFC 3339 with seconds and zone; digits after the sixth are cut; `:60` is the next second."""
    match = TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, zone_hours, zone_minutes = match.groups()[6:]
    offset = 0
    if sign is not None:
        if int(zone_hours) > 23 or int(zone_minutes) > 59:
            raise ValueError(f"no such offset: {text!r}")
        offset = (int(zone_hours) * 60 + int(zone_minutes)) * (1 if sign == "+" else -1)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(f"no such time of day: {text!r}")
    instant = midnight(date(year, month, day))
    instant += (hour * 60 + minute - offset) * MINUTE + second * SECOND
    instant += int(((fraction or "") + "000000")[:6])
    if not 2000 <= day_of(instant).year <= 2199:
        raise ValueError(f"year out of range: {text!r}")
    return instant


def decode(line: bytes) -> Event:
    """The event in these bytes, or Rejected as malformed, invalid or unknown_type."""
    return _event(_object(line))


def _object(line: bytes) -> dict[str, Any]:
    """The JSON object in these bytes, or Rejected as malformed."""
    if len(line) > BYTES_MAX:
        raise Rejected("malformed", "over 64 KiB")
    try:
        text = line.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            # The digits are kept as text: no number is too long or too large to be read.
            parse_int=_Integer,
            parse_float=_Fraction,
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Rejected("malformed", str(error)) from None
    if not isinstance(value, dict):
        raise Rejected("malformed", "not an object")
    _check_depth_and_text(value, 1)
    return value


class _Integer(str):
    pass


class _Fraction(str):
    pass


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("duplicate key")
    return dict(pairs)


def _check_depth_and_text(value: Any, depth: int) -> None:
    if isinstance(value, (dict, list)) and depth > DEPTH_MAX:
        raise Rejected("malformed", "too deep")
    if isinstance(value, dict):
        for key, member in value.items():
            _check_text(key)
            _check_depth_and_text(member, depth + 1)
    elif isinstance(value, list):
        for member in value:
            _check_depth_and_text(member, depth + 1)
    elif isinstance(value, str):
        _check_text(value)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Rejected("malformed", "NUL")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise Rejected("malformed", "lone surrogate")


def _event(fields: dict[str, Any]) -> Event:
    if fields.get("specversion") is None or _text(fields, "specversion") != "1.0":
        raise Rejected("invalid", "specversion")
    data = fields.get("data")
    if not isinstance(data, dict):
        raise Rejected("invalid", "data")
    type_ = _required(fields, "type")
    match = TYPE.fullmatch(type_)
    kind = match.group(1) if match else None
    event = Event(
        account=_id(data, "account"),
        vm=_id(fields, "subject"),
        source=_required(fields, "source"),
        id=_required(fields, "id"),
        kind=kind or "",
        time=_time(fields),
        sequence=_text(fields, "sequence"),
        **(_members(data, kind) if kind in METERED else {}),
    )
    if kind not in KNOWN:
        raise Rejected("unknown_type", type_)
    return event


def _members(data: dict[str, Any], kind: str) -> dict[str, Any]:
    """The members of `data` that the table of types names for this one."""
    if kind == "retracted":
        return {"target": (_required(data, "source"), _required(data, "id"))}
    members: dict[str, Any] = {"run": _text(data, "run")}
    if kind in ("started", "resized"):
        members |= _size(data)
    if kind == "started":
        members["bootup"] = _text(data, "bootup") or "CLEAN"
        if members["bootup"] not in BOOTUPS:
            raise Rejected("invalid", "bootup")
        members["reservation"] = _text(data, "reservation")
    if kind in ("hibernated", "stopped"):
        members["reason"] = _text(data, "reason", empty=True)
    return members


def _size(data: dict[str, Any]) -> dict[str, Any]:
    size = _text(data, "size")
    millicpu, memory_bytes = _positive(data, "millicpu"), _positive(data, "memory_bytes")
    if size is None and (millicpu is None or memory_bytes is None):
        raise Rejected("invalid", "size")
    if millicpu is not None and millicpu % 250 != 0:
        raise Rejected("invalid", "millicpu")
    lower = size.lower() if size is not None else None
    return {"size": lower, "millicpu": millicpu, "memory_bytes": memory_bytes}


def _text(fields: dict[str, Any], name: str, empty: bool = False) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not str or (value == "" and not empty):
        raise Rejected("invalid", name)
    return value


def _required(fields: dict[str, Any], name: str) -> str:
    value = _text(fields, name)
    if value is None:
        raise Rejected("invalid", name)
    return value


def _id(fields: dict[str, Any], name: str) -> str:
    value = _required(fields, name)
    if ID.fullmatch(value) is None:
        raise Rejected("invalid", name)
    return value


def _time(fields: dict[str, Any]) -> int:
    try:
        return instant_of(_required(fields, "time"))
    except ValueError as error:
        raise Rejected("invalid", str(error)) from None


def _positive(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, _Integer) or not re.fullmatch(r"[1-9][0-9]{0,18}", value):
        raise Rejected("invalid", name)
    return int(value)
