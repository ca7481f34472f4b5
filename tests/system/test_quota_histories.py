# SPDX-License-Identifier: Apache-2.0
"""What runs by quota's counts is what runs by the oracle, whatever is metered in any order."""

from __future__ import annotations

import time

from billing import apply
from harness import Failed, World, expect, expect_same, kill, test
from histories import Vm
from oracle import DEFAULT_CATALOG, ledger_of
from oracle_decode import DAY, MINUTE, SECOND, Rejected, decode
from oracle_usage import Ledger
from orchestrator import now, recount
from serving import Client, serve
from test_quota import HOUR, counts, customer



class Moment:
    """Random histories that reach up to now, and what runs by them."""

    def __init__(self, world: World, accounts: int) -> None:
        self.world, random = world, world.random
        self.end = now() - SECOND
        self.ids = [f"acct-{n:03}" for n in range(accounts)]
        self.accounts = {"accounts": [customer(account, limit=None) for account in self.ids]}
        edges = [self.end - 5 * MINUTE, self.end - 10 * MINUTE, self.end - 30 * MINUTE] * 3
        start = self.end - 6 * HOUR
        lines = [
            line
            for account in self.ids
            for n in range(random.choice([1, 2, 3, 5]))
            for line in Vm(random, account, f"vm-{n}", start, self.end + 2 * DAY, edges).lines()
            if self._happened(line)
        ]
        self.lines = random.sample(lines, len(lines))
        apply(world, self.accounts)

    def _happened(self, line: bytes) -> bool:
        try:
            return decode(line).time <= self.end
        except Rejected:
            return True

    def ledger(self) -> Ledger:
        return ledger_of(self.accounts, self.lines, self.end, DEFAULT_CATALOG)

    def check(self, client: Client, what: str) -> None:
        ledger = self.ledger()
        for _ in range(5):
            before = open_runs(ledger, now())
            got = {account: counts(client, account) for account in self.ids}
            if before == open_runs(ledger, now()):  # else one was lost just now
                expected = {account: (before.get(account, 0), 0) for account in self.ids}
                expect_same(expected, got, f"running and reserved, {what}")
                expect(sum(before.values()) > len(self.ids) // 4, f"too little runs: {before}")
                return
        raise Failed("what runs changes too often to be compared")


def open_runs(ledger: Ledger, horizon: int) -> dict[str, int]:
    running: dict[str, int] = {}
    for run in ledger.runs(horizon):
        if run.ended_by is None:
            running[run.account] = running.get(run.account, 0) + 1
    return running


@test("after random histories, what runs by quota is what runs by the oracle: in pieces, in another"
      " order, twice, and killed in between", seconds=150)
def quota_histories(world: World) -> None:
    moment = Moment(world, 40)
    with serve(world) as server:
        client = server.client("orchestrator")
        path = world.write("all.ndjson", moment.lines)
        third = len(moment.lines) // 3
        for part in (moment.lines[:third], moment.lines[third:]):
            file = world.write("part.ndjson", part)
            world.tally("meter", "--file", file, "--batch-max", 7)
        moment.check(client, "metered in two pieces")
        recount(world)
        world.tally("meter", "--file", path)
        moment.check(client, "metered twice")
        recount(world)
    world.fresh()
    apply(world, moment.accounts)
    lines = moment.lines
    moment.lines = without_conflicts(moment)  # of two contents the first stands: not in any order
    with serve(world) as server:
        client = server.client("orchestrator")
        path = world.write("other.ndjson", world.random.sample(moment.lines, len(moment.lines)))
        command = ["meter", "--file", path, "--batch-max", 10]
        for seconds in (0.15, 0.3, 0.3, 0.5, 0.7):
            process = world.start(*command)
            time.sleep(seconds)
            kill(process)
            recount(world)
        world.tally(*command)
        moment.check(client, f"in another order, killed in between ({len(lines)} events)")
    recount(world)


def without_conflicts(moment: Moment) -> list[bytes]:
    conflicting = {line for reason, line in moment.ledger().dead if reason == "conflict"}
    return [line for line in moment.lines if line not in conflicting]
