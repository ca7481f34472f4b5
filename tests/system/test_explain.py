# SPDX-License-Identifier: Apache-2.0
"""Invoices explained: every minute and every cent, down to where each event stands."""

from __future__ import annotations

import copy
import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from billing import apply, close, invoices, meter, oracle_of
from broker import Broker, scattered
from explained import OWN, Check, Explanation, Place, explain, in_file, place_of, use_of
from harness import World, expect, expect_same, test
from histories import iso, other_catalog
from histories import world as draw
from oracle import DEFAULT_CATALOG, Ledger, ledger_of
from oracle_decode import DAY, MINUTE, Event, Rejected, decode, instant_of
from oracle_rate import cents
from serving import serve, token

HOUR = 60 * MINUTE
AS_OF = instant_of("2026-10-01T01:00:00Z")


def event(kind: str, vm: str, at: int, named: str, **data: Any) -> bytes:
    return json.dumps({
        "specversion": "1.0", "id": named, "source": "/explained", "type": f"vm.{kind}", "subject": vm,
        "time": iso(at), "data": {"account": "acme", **data},
    }).encode()


def account(**more: Any) -> dict[str, Any]:
    subscriptions = [{"plan": "scale", "from": "2026-08-01"}]
    return {"accounts": [{"id": "acme", "name": "Acme GmbH", "subscriptions": subscriptions, **more}]}


def worked_example() -> list[bytes]:
    """80 VMs of size nano, 3 hours on each of September's 30 days."""
    lines = []
    for day in range(30):
        begin = instant_of("2026-09-01T10:00:00Z") + day * DAY
        for n in range(80):
            start, vm = begin + n * MINUTE, f"vm-{n:02}"
            lines.append(event("started", vm, start, f"{vm} {day} up", size="nano"))
            lines.append(event("stopped", vm, start + 3 * HOUR, f"{vm} {day} down"))
    return lines


@test("the worked example's 432,000 minutes are all accounted for, run by run, to lines of a file",
      seconds=90)
def explain_worked_example(world: World) -> None:
    apply(world, account())
    path = world.write("september.ndjson", worked_example())
    meter(world, "", path, AS_OF)
    close(world, "2026-09", AS_OF)
    [invoice] = invoices(world, "2026-09", AS_OF)
    explained = explain(world, invoice["number"])
    ledger = ledger_of(account(), path.read_bytes().splitlines(), AS_OF, DEFAULT_CATALOG)
    Check(explained, invoice, ledger, in_file(path)).all()
    expect_same(
        {"runs": 2400, "events": 4800, "minutes": 432000, "credit_minutes": 4320000, "complete": True},
        explained["totals"], "what there is",
    )
    bought = next(line for line in explained["lines"] if line["kind"] == "credits")
    expect_same("1053.574", bought["explained"]["unrounded"], "70,900 credits at $0.01486")
    text = world.tally("explain", invoice["number"]).stdout
    expect_same("These runs make up all 432,000 minutes of the invoice.", text.splitlines()[-1],
                "the last line")
    expect("= 70,900.0000 x 0.01486 (catalogue version of 2025-05-20) = 1,053.574, rounded\n" in text,
           text[:3000])
    expect_same(2400, text.count("\n    run "), "runs in the text")
    wide = [line for line in text.splitlines() if len(line.replace(f"{world.folder}/", "")) > 100]
    expect_same([], wide, "lines of more than 100 columns")
    short = world.tally("explain", invoice["number"], "--runs", 5).stdout
    expect_same(5, short.count("\n    run "), "runs with --runs 5")
    expect("  and 2,395 more runs" in short, short[-500:])
    expect_same(text.splitlines()[-1], short.splitlines()[-1], "the last line with --runs 5")


@test("what cannot be explained is refused with a sentence: no such invoice, no number", seconds=30)
def explain_refusals(world: World) -> None:
    ran = world.tally("explain", "INV-2026-000001", exit=2)
    expect("there is no invoice INV-2026-000001" in ran.stderr, str(ran))
    expect_same("", ran.stdout, "what was printed")
    world.tally("explain", exit=2)
    world.tally("explain", "INV-2026-000001", "--format", "pdf", exit=2)


def check_issued(
    world: World, issued: list[dict[str, Any]], ledger: Ledger, stands: dict[Place, bytes]
) -> dict[str, Explanation]:
    explanations = {}
    for invoice in issued:
        explained = explanations[invoice["number"]] = explain(world, invoice["number"])
        Check(explained, invoice, ledger, stands).all()
    return explanations


def register(period: str, catalog: dict[str, Any]) -> None:
    @test("each invoice of random histories follows from its explanation, and that from the lines metered",
          name=f"explain_histories_{period}", seconds=150)
    def run(world: World) -> None:
        history = draw(world.random, period, 40, catalog)
        apply(world, history.accounts, catalog)
        path = world.write("history.ndjson", history.lines)
        meter(world, "", path, history.as_of)
        issued: list[dict[str, Any]] = []
        for month in history.periods:
            close(world, month, history.as_of)
            issued += invoices(world, month, history.as_of)
        explanations = check_issued(world, issued, oracle_of(history), in_file(path))
        for number, explained in explanations.items():
            expect_same([], explained["differences"], f"differences of {number}")


register("2026-09", other_catalog())
register("2025-04", DEFAULT_CATALOG)  # the credit price changes


def charged_for(period: str, issued: list[dict[str, Any]]) -> int:
    """By own lines and by adjustments of these invoices."""
    return sum(
        cents(line["amount"])
        for invoice in issued
        for line in invoice["lines"]
        if (line["kind"] in OWN and invoice["period"] == period)
        or (line["kind"] == "adjustment" and line["period"] == period)
    )


@test("adjustments of random histories are explained by events that came after the closing", seconds=150)
def explain_late(world: World) -> None:
    adjusted = differing = 0
    for _ in range(5):  # some histories have few of them
        world.fresh()
        adjustments, differences = explain_late_history(world)
        adjusted += adjustments
        differing += differences
        if adjusted > 10 and differing > 10:
            return
    expect(False, f"{adjusted} adjustments, {differing} differences")


def explain_late_history(world: World) -> tuple[int, int]:
    """How many adjustments were explained, and how many differences."""
    history = draw(world.random, "2026-09", 40, other_catalog())
    first = history.periods[0]
    apply(world, history.accounts, history.catalog)
    stands: dict[Place, bytes] = {}
    issued = []
    half = len(history.lines) // 2
    parts = [history.lines[:half], history.lines[half:]]
    for n, (period, lines) in enumerate(zip(history.periods, parts)):
        path = world.write(f"part-{n}.ndjson", lines)
        meter(world, "", path, history.as_of)
        stands |= in_file(path)
        close(world, period, history.as_of)
        issued += invoices(world, period, history.as_of)
    ledger = oracle_of(history)
    explanations = check_issued(world, issued, ledger, stands)
    adjusted = differing = 0
    for invoice in issued:
        explained = explanations[invoice["number"]]
        differing += len(explained["differences"])
        before = [i for i in issued if i["number"] < invoice["number"] and i["account"] == invoice["account"]]
        for line in Check(explained, invoice, ledger, stands).adjustments:
            why = line["explained"]
            expect_same(charged_for(line["period"], before), cents(why["charged"]), "charged before")
            expect_same(before[-1]["number"] if before else None, why["previous"], "the invoice before")
            came_late(explained, why["changes"], ledger, stands)
            adjusted += 1
        if invoice["period"] == first:
            settled(explained, explanations, ledger)
    return adjusted, differing


def came_late(
    explained: Explanation, changes: list[dict[str, Any]], ledger: Ledger, stands: dict[Place, bytes]
) -> None:
    """Something of the second part is there; or what came late lies before all that is shown."""
    told = {
        place_of(thing)
        for run in explained["runs"]
        for event in run["events"]
        for thing in (event, event.get("retracted_by", event))
    }
    if not changes or any(name == "part-1.ndjson" for name, _, _ in told):
        return
    first = instant_of(min(change["date"] for change in changes) + "T00:00:00Z")
    second = [line for place, line in stands.items() if place[0] == "part-1.ndjson"]
    ours = [event for (account, _), events in ledger.vms.items() if account == explained["account"]
            for event in events.values() if event.time < first]
    late = {event.identity for event in map(decoded, second) if event is not None}
    expect(any(event.identity in late for event in ours), f"{explained['number']}: nothing came late")


def decoded(line: bytes) -> Event | None:
    try:
        return decode(line)
    except Rejected:
        return None


def settled(
    explained: Explanation, explanations: dict[str, Explanation], ledger: Ledger
) -> None:
    """Where the runs are others by now, the invoice that is named was rated from what they are."""
    adjusted_by = {
        number for number, later in explanations.items()
        if later["account"] == explained["account"]
        for line in later["lines"] if line.get("period") == explained["period"]
    }
    for difference in explained["differences"]:
        number = difference["settled_by"]
        expect_same(adjusted_by, {number} - {None}, f"what settles {difference}")
        if number is None:
            continue  # it changes no amount
        [line] = [l for l in explanations[number]["lines"] if l.get("period") == explained["period"]]
        now = use_of(line["explained"]["now"]["days"])
        got = now.get((difference["date"], difference["size"]), 0)
        expect_same(difference["run_minutes"], got, f"{difference} in {number}")


@test("late stop, retraction and conflict are named where they stand; a credit note explains its invoice",
      seconds=60)
def explain_by_hand(world: World) -> None:
    apply(world, account(tax_rate_bps=1900))
    start = instant_of("2026-08-20T00:00:00Z")
    early = [
        event("started", "a", start, "a up", size="xlarge"),
        event("started", "b", start, "b up", size="nano"),
        event("resized", "b", start + HOUR, "b wrong", size="large"),
        event("stopped", "b", start + DAY, "b down"),
        event("stopped", "b", start + DAY + HOUR, "b down again"),
        event("started", "b", start, "b up", size="pico"),
    ]
    late = [
        event("stopped", "a", start + DAY, "a down"),  # its last minute ends with the day
        event("retracted", "b", start + 2 * DAY, "sorry", source="/explained", id="b wrong"),
    ]
    meter(world, "early.ndjson", early, AS_OF)
    close(world, "2026-08", AS_OF)
    meter(world, "late.ndjson", late, AS_OF)
    first = "INV-2026-000001"
    expect({d["settled_by"] for d in explain(world, first)["differences"]} == {None}, "not settled yet")
    expect("not adjusted (yet)" in world.tally("explain", first).stdout, "that nothing settled it")
    close(world, "2026-09", AS_OF)
    expect({d["settled_by"] for d in explain(world, first)["differences"]} == {"INV-2026-000002"},
           "settled by the next invoice")
    told = {e["id"]: e for run in explain(world, "INV-2026-000002")["runs"] for e in run["events"]}
    expect_same(("ended", 1), (told["a down"]["did"], told["a down"]["line"]), "the late stop")
    expect_same(2, told["b wrong"]["retracted_by"]["line"], "the line of the retraction")
    text = world.tally("explain", first).stdout
    for says in (
        "did nothing: it was retracted\n          {folder}/early.ndjson line 3, /explained b wrong\n"
        "          retracted by /explained sorry at {folder}/late.ndjson line 2\n",
        "did nothing: the VM did not run\n          {folder}/early.ndjson line 5,",
        "did nothing: it conflicts with the event of its identity that was metered first\n"
        "          {folder}/early.ndjson line 6\n",
    ):
        expect(says.format(folder=world.folder) in text or says.replace("{folder}/", "") in text, text)
    world.tally("invoices", "void", "INV-2026-000002", "--reason", "a test")
    note, voided = explain(world, "CN-2026-000001"), explain(world, "INV-2026-000002")
    expect_same(("credit_note", "INV-2026-000002"), (note["kind"], note["credits"]), "the credit note")
    expect_same("voided", voided["status"], "the invoice's status")
    for line, other in zip(note["lines"], voided["lines"], strict=True):
        expect_same(-cents(other.pop("amount")), cents(line.pop("amount")), "a negated amount")
    for name in ("lines", "runs", "days", "terms", "horizon", "differences"):
        expect_same(voided[name], note[name], f"{name} of the credit note")


@test("an invoice issued anew takes back what others have adjusted, and is explained so; the sums add up",
      seconds=60)
def explain_issued_anew(world: World) -> None:
    apply(world, account())
    start, lines = instant_of("2026-08-20T00:00:00Z"), []
    stands: dict[Place, bytes] = {}

    def come(name: str, *more: bytes) -> None:
        path = world.write(name, list(more))
        meter(world, "", path, AS_OF)
        stands.update(in_file(path))
        lines.extend(more)

    come("first.ndjson", event("started", "a", start, "up", size="xlarge"),
         event("stopped", "a", start + 3 * DAY, "down"))
    close(world, "2026-08", AS_OF)
    come("second.ndjson", event("stopped", "a", start + 2 * DAY, "down earlier"))
    close(world, "2026-09", AS_OF)
    world.tally("invoices", "void", "INV-2026-000001", "--reason", "a test")
    come("third.ndjson", event("stopped", "a", start + DAY + HOUR, "down earliest"))
    close(world, "2026-08", AS_OF, "--account", "acme")
    ledger = ledger_of(account(), lines, AS_OF, DEFAULT_CATALOG)
    issued = {i["number"]: i for p in ("2026-08", "2026-09") for i in invoices(world, p, AS_OF)}
    for number, invoice in issued.items():
        Check(explain(world, number), invoice, ledger, stands).all()
    anew = explain(world, "INV-2026-000003")
    [line] = [line for line in anew["lines"] if line["kind"] == "adjustment"]
    standing = [issued["INV-2026-000002"], issued["INV-2026-000003"]]
    own = {**standing[1], "lines": [l for l in standing[1]["lines"] if l["kind"] in OWN]}
    expect_same("2026-08", line["period"], "what is adjusted")
    expect_same(charged_for("2026-08", [standing[0], own]), cents(line["explained"]["charged"]), "charged")
    expect_same("INV-2026-000002", line["explained"]["previous"], "who had adjusted it before")
    due = sum(cents(l["amount"]) for l in own["lines"])
    expect_same(due, charged_for("2026-08", standing), "what August comes to in all")
    expect_same([], anew["differences"], "what came since")
    settled_by = {d["date"]: d["settled_by"] for d in explain(world, "INV-2026-000001")["differences"]}
    expect_same({"2026-08-21": "INV-2026-000003", "2026-08-22": "INV-2026-000002"}, settled_by,
                "since when the voided invoice's days are what they are")


@test("what comes for a month that was closed again with nothing to bill is explained from nothing",
      seconds=60)
def explain_closed_again(world: World) -> None:
    enterprise = account(subscriptions=[{"plan": "enterprise", "from": "2026-06-01"}])
    apply(world, enterprise)
    start = instant_of("2026-06-20T00:00:00Z")
    lines: list[bytes] = []
    stands: dict[Place, bytes] = {}

    def come(name: str, *more: bytes) -> None:
        path = world.write(name, list(more))
        meter(world, "", path, AS_OF)
        stands.update(in_file(path))
        lines.extend(more)

    def mistake(vm: str) -> bytes:
        return event("retracted", vm, start + DAY, f"{vm} mistake", source="/explained", id=f"{vm} up")

    def day_of(vm: str, size: str) -> list[bytes]:
        return [event("started", vm, start, f"{vm} up", size=size),
                event("stopped", vm, start + DAY, f"{vm} down")]

    come("first.ndjson", *day_of("a", "xlarge"))
    close(world, "2026-06", AS_OF)
    come("second.ndjson", *day_of("b", "large"))
    close(world, "2026-07", AS_OF)  # adjusts June
    come("third.ndjson", mistake("b"))
    close(world, "2026-08", AS_OF)  # and back
    world.tally("invoices", "void", "INV-2026-000001", "--reason", "a test")
    come("fourth.ndjson", mistake("a"))
    close(world, "2026-06", AS_OF, "--account", "acme")
    expect_same("1", world.psql("SELECT count(*) FROM closed_again"), "months closed again")
    come("fifth.ndjson", *day_of("c", "nano"))
    close(world, "2026-09", AS_OF)
    [invoice] = invoices(world, "2026-09", AS_OF)
    explained = explain(world, invoice["number"])
    Check(explained, invoice, ledger_of(enterprise, lines, AS_OF, DEFAULT_CATALOG), stands).all()
    [line] = [line for line in explained["lines"] if line["kind"] == "adjustment"]
    why = line["explained"]
    expect_same(("0.00", line["amount"], None, None), (why["charged"], why["due"], why["previous"], why["was"]),
                "what it was before")
    expect_same([("2026-06-20", "nano", 0, 1440)],
                [(c["date"], c["size"], c["minutes_before"], c["minutes"]) for c in why["changes"]],
                "what has changed")
    text = world.tally("explain", invoice["number"]).stdout
    expect("    nothing was charged for it before\n" in text, text)


@test("an adjustment of what a size costs alone shows the credits; where what it builds on is broken, whose",
      seconds=60)
def explain_repriced(world: World) -> None:
    apply(world, account())
    start = instant_of("2026-08-20T00:00:00Z")
    meter(world, "day.ndjson", [event("started", "a", start, "up", size="xlarge"),
                                event("stopped", "a", start + DAY, "down")], AS_OF)
    close(world, "2026-08", AS_OF)
    repriced = copy.deepcopy(DEFAULT_CATALOG)
    repriced["versions"][-1]["sizes"]["xlarge"]["credits_per_hour"] = 330
    world.tally("catalog", "apply", world.write("repriced.json", repriced), "--retroactive")
    close(world, "2026-09", AS_OF)
    text = world.tally("explain", "INV-2026-000002").stdout
    rows = [line.split() for line in text.splitlines()]
    shown = ["2026-08-20", "xlarge", "1,440", "1,440", "7,680.0000", "7,920.0000"]
    expect(shown in rows, f"{shown} are not in\n{text}")
    expect_same([], [line for line in text.splitlines() if len(line.replace(f"{world.folder}/", "")) > 100],
                "lines of more than 100 columns")
    world.psql("ALTER TABLE invoice DISABLE TRIGGER ALL; UPDATE invoice SET inputs = jsonb_set(inputs,"
               " '{tax_rate_bps}', '\"much\"') WHERE number = 'INV-2026-000001'")
    ran = world.tally("explain", "INV-2026-000002", exit=1)
    for words in ("INV-2026-000002 cannot be explained without INV-2026-000001: kept inputs", "tally audit"):
        expect(words in ran.stderr, f"{words!r} is not said\n{ran}")


@test("heartbeats: each of the days that are explained, the others counted; as text, in one line",
      seconds=60)
def explain_heartbeats(world: World) -> None:
    apply(world, account())
    start = instant_of("2026-08-31T23:00:00Z")
    lines = [event("started", "a", start, "up", size="nano")]
    lines += [event("heartbeat", "a", start + n * MINUTE, f"beat {n}") for n in range(1, 180)]
    lines.append(event("heartbeat", "b", start + 2 * HOUR, "nobody's"))
    path = world.write("beats.ndjson", lines)
    meter(world, "", path, AS_OF)
    close(world, "2026-08", AS_OF)
    close(world, "2026-09", AS_OF)
    explained = explain(world, "INV-2026-000002")
    run, alone = explained["runs"]
    expect_same(("heartbeat_lost", 119, 59), (run["ended_by"], run["minutes"], run["heartbeats_elsewhere"]),
                "the run")
    told = [(e["type"], e["did"], e["line"]) for e in run["events"]]
    beats = [("vm.heartbeat", "proved life", n + 1) for n in range(60, 180)]
    expect_same([("vm.started", "opened", 1), *beats], told, "its events")
    expect_same((None, "the VM did not run"), (alone["start"], alone["events"][0]["why"]), "of no run")
    text = world.tally("explain", "INV-2026-000002").stdout
    for says in ("      120 heartbeats from 2026-09-01T00:00:00Z to 2026-09-01T01:59:00Z\n",
                 "beats.ndjson line 61 to\n", "beats.ndjson line 180\n",
                 "      and 59 heartbeats on days that are not explained here\n"):
        expect(says in text, text)


@test("each event's topic, partition and offset is where it stands in Kafka", seconds=120,
      kafka=("mock", "real"))
def explain_kafka(world: World) -> None:
    broker = Broker(world)
    history = draw(world.random, "2026-09", 15, DEFAULT_CATALOG)
    apply(world, history.accounts)
    records = scattered(world.random, history.lines, broker.partitions)
    broker.produce(records)
    world.tally("meter", "--until-caught-up", "--as-of", iso(history.as_of), *broker.flags)
    offsets: Counter[int] = Counter()
    stands: dict[Place, bytes] = {}
    for record, line in zip(records, history.lines, strict=True):
        partition = record["partition"]
        stands[broker.topic, partition, offsets[partition]] = line
        offsets[partition] += 1
    issued = []
    for period in history.periods:
        close(world, period, history.as_of)
        issued += invoices(world, period, history.as_of)
    # Partitions are read side by side: which of two that conflict came first is not known.
    ledger = Ledger(oracle_of(history).catalog, history.ids)
    metered = world.psql(
        "SELECT o.topic, o.partition, e.position FROM event e JOIN origin o USING (origin)"
    )
    first = {tuple(row.split("|")) for row in metered.splitlines()}
    order = sorted(stands, key=lambda place: tuple(map(str, place)) not in first)
    ledger.meter([stands[place] for place in order], history.as_of)
    check_issued(world, issued, ledger, stands)


@test("over HTTP: byte by byte what the command prints; a customer's own alone", seconds=60)
def explain_http(world: World) -> None:
    apply(world, {"accounts": account()["accounts"] + [dict(account()["accounts"][0], id="globex")]})
    meter(world, "september.ndjson", worked_example(), AS_OF)
    close(world, "2026-09", AS_OF)
    own, others = (i["number"] for i in invoices(world, "2026-09", AS_OF))
    with serve(world) as server:
        finance = server.client("finance")
        customer = server.client(None)
        customer.token = token(world, "customer", "acme")
        printed = world.tally("explain", own, "--format", "json").stdout
        for client in (finance, customer):
            reply = client.get(f"/v1/invoices/{own}/explain")
            expect_same((200, "application/json"), (reply.status, reply.media_type), "the answer")
            expect(reply.text == printed, "the answer is not what the command prints")
        expect_same(200, finance.get(f"/v1/invoices/{others}/explain").status, "another's, to finance")
        replies = [customer.get(f"/v1/invoices/{n}/explain") for n in (others, "INV-2001-000001")]
        for reply in replies:
            expect_same((404, "not-found"), (reply.status, reply.problem), str(reply))


MANY = 200_000  # runs
RSS_KB_MAX = 64 * 1024


def peak_kb(process: subprocess.Popen[bytes]) -> int:
    """The most that it has held so far; 0 where it has ended."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peaks[0]) if peaks else 0


@test("an invoice of 200,000 runs is explained in little memory, and begins to come at once", seconds=240, heavy=True)
def explain_many_runs(world: World) -> None:
    apply(world, account())
    lines = []
    begin = instant_of("2026-09-01T00:00:00Z")
    for n in range(MANY):
        vm, start = f"vm-{n % 5000:04}", begin + n // 5000 * HOUR
        lines.append(event("started", vm, start, f"{n} up", size="pico"))
        lines.append(event("stopped", vm, start + 30 * MINUTE, f"{n} down"))
    meter(world, "many.ndjson", lines, AS_OF)
    close(world, "2026-09", AS_OF)
    for form in ("json", "text"):
        began = time.monotonic()
        process = world.start("explain", "INV-2026-000001", "--format", form, stderr=subprocess.DEVNULL)
        tail = process.stdout.read(64 * 1024)
        waited = time.monotonic() - began
        held = 0
        while piece := process.stdout.read(1 << 20):
            tail = (tail + piece)[-300:]
            held = max(held, peak_kb(process))
        took = time.monotonic() - began
        expect_same(0, process.wait(), f"exit of the {form}")
        expect(0 < held < RSS_KB_MAX, f"{form}: it held {held} KiB")
        expect(waited < took / 3, f"{form}: the first piece came after {waited:.2f} of {took:.2f} s")
        if form == "json":
            expect(tail.endswith(b'"complete":true}}\n'), repr(tail))
            expect(f'"runs":{MANY},"events":{2 * MANY},"minutes":{30 * MANY}'.encode() in tail, repr(tail))
        else:
            expect(tail.endswith(b"make up all 6,000,000 minutes of the invoice.\n"), repr(tail))
    with serve(world) as server:
        number = "/v1/invoices/INV-2026-000001/explain"
        expect_same(200, server.client("finance").get(number).status, "the same over HTTP")
        held = peak_kb(server.process)
        expect(held < 2 * RSS_KB_MAX, f"the server held {held} KiB")
