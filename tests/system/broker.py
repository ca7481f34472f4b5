# SPDX-License-Identifier: Apache-2.0
"""Brokers for the tests: librdkafka's in-memory cluster, or topics of their own on a real one."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
from collections.abc import Iterable
from random import Random
from typing import Any

from harness import Failed, Skipped, World, expect

ANY = -1  # the partition that the key decides

Record = dict[str, Any]


def record(value: bytes | None, key: str | None = None, partition: int = ANY, **headers: str):
    """A record in the form that tool_produce reads. `_` in a header's name stays as it is."""
    written: Record = {"partition": partition, "key": key}
    if value is None:
        written["value"] = None
    else:
        written["value_base64"] = base64.b64encode(value).decode()
    if headers:
        written["headers"] = {name.replace("content_type", "content-type"): text
                              for name, text in headers.items()}
    return written


def scattered(random: Random, lines: Iterable[bytes], partitions: int) -> list[Record]:
    """Each line on any partition, with any key or none."""
    keys = [None, "", "acme", "k1", "k2"]
    return [record(line, random.choice(keys), random.randrange(partitions)) for line in lines]


class Broker:
    """A topic, and the broker it is on."""

    def __init__(self, world: World, partitions: int = 4) -> None:
        self.world, self.partitions = world, partitions
        self.mock: subprocess.Popen[bytes] | None = None
        for tool in ("tool_produce",) + (("tool_mock",) if world.kafka == "mock" else ()):
            if not (world.tools / tool).exists():
                raise Skipped(f"{world.tools / tool} has not been built")
        self.topic = f"vm.lifecycle.{world.folder.name}.{os.getpid()}"
        if world.kafka == "mock":
            self._start_mock()
        else:
            self.brokers = world.kafka.removeprefix("real:")
            self.create()

    def _start_mock(self) -> None:
        command = [self.world.tools / "tool_mock", "--partitions", str(self.partitions)]
        self.mock = subprocess.Popen(
            [*command, "--topic", self.topic], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        line = self.mock.stdout.readline().decode().strip()
        expect(line.startswith("brokers="), f"tool_mock said {line!r}")
        self.brokers = line.removeprefix("brokers=")

    @property
    def flags(self) -> list[str]:
        """What a collector needs to be told."""
        group = f"group.{self.world.database}"
        return ["--brokers", self.brokers, "--topic", self.topic, "--group", group]

    def produce(self, records: list[Record]) -> None:
        path = self.world.write("records.jsonl", "".join(json.dumps(r) + "\n" for r in records))
        command = [self.world.tools / "tool_produce", "--brokers", self.brokers]
        producer = subprocess.run(
            [*command, "--topic", self.topic, "--input", path],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=150, check=False,
        )
        if producer.returncode != 0:
            stderr = producer.stderr.decode(errors="replace")
            raise Failed(f"tool_produce ended with {producer.returncode}: {stderr}")

    # ---- a real broker's topics, by Kafka's own protocol ----

    def create(self, partitions: int | None = None) -> None:
        topic = (
            _text(self.topic)
            + struct.pack(">iHi", partitions or self.partitions, 1, 0)
            + struct.pack(">i", 1)
            + _text("max.message.bytes") + _text("20000000")
        )
        answer = self._ask(19, 2, struct.pack(">i", 1) + topic + struct.pack(">ib", 30000, 0))
        self._check(answer[4:], "create")

    def delete(self) -> None:
        body = struct.pack(">i", 1) + _text(self.topic) + struct.pack(">i", 30000)
        self._check(self._ask(20, 1, body)[4:], "delete")

    def grow(self, partitions: int) -> None:
        """More partitions."""
        topic = _text(self.topic) + struct.pack(">ii", partitions, -1)
        body = struct.pack(">i", 1) + topic + struct.pack(">ib", 30000, 0)
        self._check(self._ask(37, 0, body)[4:], "grow")
        self.partitions = partitions

    def _ask(self, key: int, version: int, body: bytes) -> bytes:
        host, port = self.brokers.rsplit(":", 1)
        request = struct.pack(">hhi", key, version, 1) + _text("tests") + body
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                [length] = struct.unpack(">i", answer.read(4))
                return answer.read(length)[4:]  # without the correlation id

    def _check(self, results: bytes, what: str) -> None:
        length = struct.unpack(">h", results[4:6])[0]
        [code] = struct.unpack(">h", results[6 + length : 8 + length])
        expect(code == 0, f"Kafka would not {what} the topic {self.topic}: error {code}")


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()
