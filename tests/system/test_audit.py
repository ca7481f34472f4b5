# SPDX-License-Identifier: Apache-2.0
"""The audit of what was metered: clean where nothing was touched, and it names whatever was."""

from __future__ import annotations

import json
import signal
import struct
import time
import unicodedata
from threading import Thread
from typing import Any

from billing import apply, close, meter, pieces
from broker import Broker, scattered
from harness import Failed, Ran, World, expect, expect_same, test
from histories import World as History
from histories import iso, other_catalog
from histories import world as draw
from oracle import DEFAULT_CATALOG
from oracle_decode import MINUTE
from test_kafka import BOTH, QUICK, catch_up

Finding = dict[str, Any]


def audit(world: World, as_of: int, *more: Any, exit: Any = 0) -> tuple[list[Finding], Finding]:
    """What it found, and its summary."""
    ran = world.tally("audit", "--format", "json", "--as-of", iso(as_of), *more, exit=exit)
    *found, summary = [json.loads(line) for line in ran.stdout.splitlines()]
    expect_same(len(found), summary["differences"], f"the number of differences\n{ran}")
    return found, summary


def expect_clean(world: World, as_of: int, *more: Any) -> Finding:
    found, summary = audit(world, as_of, *more, exit=None)
    expect_same([], found, "what an audit of untouched books finds")
    return summary


def running(history: History) -> list[bytes]:
    """A VM that runs, under watch, whatever the others do."""
    return [
        json.dumps({
            "specversion": "1.0", "id": kind, "source": "/watched", "type": f"vm.{kind}", "subject": "watched",
            "time": iso(history.as_of - before * MINUTE),
            "data": {"account": history.ids[0]} | ({"size": "nano"} if kind == "started" else {}),
        }).encode()
        for kind, before in (("started", 60), ("heartbeat", 1))
    ]


def metered(world: World, accounts: int, catalog: dict[str, Any] = DEFAULT_CATALOG) -> History:
    """Random accounts, metered in pieces, so that much of it came late."""
    random = world.random
    history = draw(random, "2026-09", accounts, catalog)
    history.lines += running(history)
    apply(world, history.accounts, None if catalog is DEFAULT_CATALOG else catalog)
    for n, piece in enumerate(pieces(random, history.lines, 3)):
        meter(world, f"events-{n}.ndjson", piece, history.as_of, "--batch-max", 50)
    return history


@test("an audit finds nothing in random histories, closed while events came late", seconds=180)
def audit_clean(world: World) -> None:
    random = world.random
    history = draw(random, "2026-09", 60, other_catalog())
    apply(world, history.accounts, other_catalog())
    first, second, third = pieces(random, history.lines, 3)
    meter(world, "first.ndjson", first, history.as_of)
    expect_clean(world, history.as_of)
    close(world, history.periods[0], history.as_of)
    expect_clean(world, history.as_of)
    meter(world, "second.ndjson", second, history.as_of)
    found, _ = audit(world, history.as_of, exit=1)
    expect_same({True}, {finding["pending"] for finding in found}, "whether all is pending")
    expect_same(0, audit_exit(world, history.as_of, "--pending-ok"), "exit with --pending-ok")
    close(world, history.periods[1], history.as_of)
    found, summary = audit(world, history.as_of, exit=None)
    # What changed of an account that got no invoice, since nothing was due, waits for the next one.
    billed = set(world.psql(f"SELECT account FROM invoice WHERE period = '{history.periods[1]}-01'").split())
    settled = [finding for finding in found if not finding["pending"] or finding["account"] in billed]
    expect_same([], settled, "what an audit of settled books finds")
    expect_same(int(world.psql("SELECT count(*) FROM event")), summary["events"], "events")
    expect_same(int(world.psql("SELECT count(*) FROM run")), summary["runs"], "runs")
    expect_same(len(history.ids), summary["accounts"], "accounts")
    expect_same(int(world.psql("SELECT count(*) FROM invoice")), summary["invoices"], "invoices")
    expect_same(world.psql("SELECT encode(hash, 'hex') FROM chain"), summary["head"], "head")
    meter(world, "third.ndjson", third, history.as_of)
    audit(world, history.as_of, exit=(0, 1))


def audit_exit(world: World, as_of: int, *more: Any) -> int:
    return world.tally("audit", "--as-of", iso(as_of), *more, exit=(0, 1)).exit


@test("an audit as of an earlier instant counts what had been used by then: it agrees with a closing as of then",
      seconds=180)
def audit_as_of(world: World) -> None:
    history = metered(world, 30)
    untouched = world.database
    first, second = history.periods
    times = world.psql("SELECT extract(epoch FROM at) * 1000000 FROM event"
                       f" WHERE at BETWEEN '{first}-10' AND '{second}-20'").splitlines()
    for number, time_us in enumerate(world.random.sample(times, 5)):
        instant = int(float(time_us)) + world.random.choice([-1, 0, 0, 1, 1000000])
        world.database = f"{untouched}_a{number}"
        world.postgres.create(world.database, untouched)
        expect_clean(world, instant)
        close(world, first, instant, "--force")
        expect(int(world.psql("SELECT count(*) FROM invoice")) > 10, "hardly anything was billed")
        expect_clean(world, instant)
    world.database = untouched


# What is changed behind everybody's back, and the check that must notice it. `{vm}` is a VM that has
# runs, `{idle}` one that does not run, `{running}` one that does.
RUNS = "account || '/' || vm = '{vm}'"
TAMPERINGS: dict[str, tuple[str, set[str]]] = {
    "an event is deleted": (
        "DELETE FROM event WHERE {runs} AND type = 0"
        " AND at = (SELECT min(started_at) FROM run WHERE {runs} AND minutes > 0)",
        {"runs", "minutes"}),
    "an event's time is changed": (
        "UPDATE event SET at = at + interval '7 seconds' WHERE {runs} AND type = 0"
        " AND at = (SELECT min(started_at) FROM run WHERE {runs})", {"runs"}),
    "an event's size is one that there is not": (
        "UPDATE event SET size = 'colossal' WHERE {runs} AND type = 0", {"events"}),
    "an event is of a type that there is not": (
        "UPDATE event SET type = 9 WHERE {runs} AND type = 0", {"events"}),
    "an event's time is infinite": (
        "UPDATE event SET at = 'infinity' WHERE {runs} AND type = 0", {"events"}),
    "an event's account is another": (
        "UPDATE event SET account = 'nobody' WHERE {runs}", {"accounts", "runs", "vms"}),
    "an event is from nowhere": (
        "UPDATE event SET origin = 99999 WHERE {runs} AND type = 0", {"positions"}),
    "a run is deleted": ("DELETE FROM run WHERE {runs}", {"runs"}),
    "a run is longer": (
        "UPDATE run SET ended_at = ended_at + interval '1 minute' WHERE {runs}", {"runs"}),
    "a run is over when nothing can be": ("UPDATE run SET ended_at = '2999-01-01' WHERE {runs}", {"runs"}),
    "a run has ended otherwise": ("UPDATE run SET ended_by = 3 - ended_by WHERE {runs}", {"runs"}),
    "a run has another name": ("UPDATE run SET run = 'another' WHERE {runs}", {"runs"}),
    "a run has another size": ("UPDATE run SET sizes = 'colossal' WHERE {runs}", {"runs"}),
    "a run has more minutes": ("UPDATE run SET minutes = minutes + 1 WHERE {runs}", {"runs"}),
    "a run has fewer credit-minutes": (
        "UPDATE run SET credit_minutes = credit_minutes - 1 WHERE {runs}", {"runs"}),
    "a run has more than there can be": (
        "UPDATE run SET minutes = 9223372036854775807, credit_minutes = -9223372036854775808 WHERE {runs}",
        {"runs"}),
    "a run is made up": (
        "INSERT INTO run SELECT account, started_at, vm, nth + 100, ended_at, ended_by, run, sizes, minutes,"
        " credit_minutes FROM run WHERE {runs}", {"runs"}),
    "a day's minutes are more": (
        "UPDATE usage_day SET minutes = minutes + 1 WHERE account = '{account}'", {"minutes"}),
    "a day's minutes are gone": ("DELETE FROM usage_day WHERE account = '{account}'", {"minutes"}),
    "a day's minutes are more than there can be": (
        "UPDATE usage_day SET minutes = 9223372036854775807 WHERE account = '{account}'", {"minutes"}),
    "a day's minutes are made up": (
        "INSERT INTO usage_day VALUES ('{account}', '2001-01-01', 'nano', 1)", {"minutes"}),
    "a day's minutes are of a size that there is not": (
        "INSERT INTO usage_day VALUES ('{account}', '2026-09-02', 'colossal', 1)", {"minutes"}),
    "a VM's row is deleted": ("DELETE FROM vm WHERE {runs}", {"vms"}),
    "a VM's row is made up": (
        "INSERT INTO vm SELECT account, 'made-up', version, last_at, phase, started_at, nth, run, sizes,"
        " proof_at, pending FROM vm WHERE {runs}", {"vms"}),
    "a VM is said to have stopped": (
        "UPDATE vm SET phase = 0, sizes = NULL, run = NULL, proof_at = NULL WHERE phase = 1", {"vms"}),
    "a VM was heard of later": ("UPDATE vm SET last_at = last_at + interval '1 s' WHERE {runs}", {"vms"}),
    "a VM waits for an event": ("UPDATE vm SET pending = NOT pending WHERE {runs}", {"vms"}),
    "a VM that runs is not listed": ("UPDATE vm SET listed = false WHERE phase = 1", {"vms"}),
    "a VM's proof of life is older": (
        "UPDATE vm SET proof_at = proof_at - interval '1 s' WHERE proof_at IS NOT NULL", {"vms"}),
    "an account has more slots in use": (
        "UPDATE quota SET running = running + 1 WHERE account = '{account}'", {"quota"}),
    "an account has more reservations": (
        "UPDATE quota SET reserved = reserved + 1 WHERE account = '{account}'", {"quota"}),
    "nobody looks for lost runs": (
        "UPDATE quota SET look_at = NULL WHERE look_at IS NOT NULL", {"quota"}),
    "an account's slots are not counted": ("DELETE FROM quota WHERE account = '{account}'", {"quota"}),
    "a reservation is made up": (
        "INSERT INTO reservation SELECT '{account}', 'made-up', 'x', 'nano', now(), now(), now(), now()",
        {"quota"}),
    "a VM is passed over": (
        "INSERT INTO uncounted SELECT account, vm, 1, now() FROM vm WHERE phase = 1", {"quota"}),
    "a VM is vouched for, for good": (
        "INSERT INTO uncounted SELECT account, vm, 0, now(), now(), now() + interval '100 years' FROM vm"
        " WHERE phase = 1; UPDATE quota q SET lapse_at = now() + interval '99 years', running = running -"
        " (SELECT count(*) FROM uncounted u WHERE u.account = q.account)", {"quota"}),
    "a slot is reserved for good": (
        "INSERT INTO reservation SELECT '{account}', 'made-up', 'x', 'nano', now(), now(), now(),"
        " now() + interval '100 years'; UPDATE quota SET lapse_at = now(), reserved = reserved + 1"
        " WHERE account = '{account}'", {"quota"}),
}


@test("whatever is changed behind its back, of events, runs, minutes, VMs and slots, an audit finds",
      seconds=300)
def audit_tampered(world: World) -> None:
    history = metered(world, 25)
    expect_clean(world, history.as_of)
    untouched = world.database
    picked = world.psql("SELECT account || '/' || vm FROM run WHERE minutes > 0 ORDER BY minutes, 1 LIMIT 1")
    account, vm = picked.split("/")
    names = {"runs": RUNS.format(vm=picked), "account": account}
    for number, (what, (sql, checks)) in enumerate(TAMPERINGS.items()):
        world.database = f"{untouched}_t{number}"
        world.postgres.create(world.database, untouched)
        for statement in sql.format(**names).split("; "):
            changed = world.psql(f"WITH t AS ({statement} RETURNING 1) SELECT count(*) FROM t")
            expect(int(changed) > 0, f"{what}: nothing was changed by {statement}")
        found, _ = audit(world, history.as_of, exit=1)
        missed = checks - {finding["check"] for finding in found}
        expect_same(set(), missed, f"{what}: the checks that did not notice, of {found}")
        if "{runs}" in sql and not checks & {"positions", "accounts"}:
            names_of = {f["subject"] for f in found if f["account"] == account}
            expect(names_of & {vm, "made-up"}, f"{what}: VM {vm} of {account} is not named in {found}")
        world.postgres.psql("postgres", f"DROP DATABASE {world.database}")
    world.database = untouched


@test("an audit says in people's words what is wrong, whose it is and in whose favour")
def audit_words(world: World) -> None:
    history = metered(world, 5)
    row = world.psql("SELECT account || ' ' || vm FROM run WHERE minutes > 0 LIMIT 1")
    account, vm = row.split(" ")
    world.psql(f"UPDATE run SET minutes = minutes + 60, credit_minutes = credit_minutes + 600"
               f" WHERE account = '{account}' AND vm = '{vm}'")
    ran = world.tally("audit", "--as-of", iso(history.as_of), exit=1)
    first = ran.stdout.splitlines()[0]
    for words in (f"runs       {account} {vm}: the run from ", "minutes is ", ", should be ",
                  "; 10.0000 credits too many are counted"):
        expect(words in first, f"{words!r} is not said\n{ran}")
    expect(ran.stdout.splitlines()[-1].startswith("head 0 " + "0" * 64), f"no head\n{ran}")
    expect("differences were found" in ran.stderr or "1 difference was found" in ran.stderr, str(ran))


@test("what an audit prints of a row does not drive a terminal, whatever stands in it")
def audit_words_drive_no_terminal(world: World) -> None:
    history = metered(world, 5)
    world.psql("UPDATE run SET vm = E'v\\r\\033[2K\\u009B2K' WHERE (account, vm) IN"
               " (SELECT account, vm FROM run WHERE minutes > 0 LIMIT 1)")
    ran = world.tally("audit", "--as-of", iso(history.as_of), exit=1)
    driving = [char for char in ran.stdout if unicodedata.category(char) == "Cc" and char != "\n"]
    expect_same([], driving, f"control characters in\n{ran}")
    expect(" v??[2K?2K: " in ran.stdout, f"the VM is not named in one line\n{ran}")


# ---- while others write ----


@test("audits are clean while a collector meters: all they read is of one moment", seconds=240,
      kafka=BOTH)
def audit_beside_metering(world: World) -> None:
    random = world.random
    broker = Broker(world)
    history = draw(random, "2026-09", 60, DEFAULT_CATALOG)
    apply(world, history.accounts)
    log = open(world.folder / "collector.log", "wb")
    collector = world.start("meter", "--batch-max", 20, *broker.flags, *QUICK, stdout=log, stderr=log)
    failures: list[Exception] = []

    def produce() -> None:
        try:
            for piece in pieces(random, history.lines, 15):
                broker.produce(scattered(random, piece, broker.partitions))
                time.sleep(0.2)
        except Exception as failure:
            failures.append(failure)

    trickling = Thread(target=produce, daemon=True)
    trickling.start()
    audits, seen = 0, set()
    kafka = ["--brokers", broker.brokers, "--from-kafka"]
    while trickling.is_alive() or audits < 3:
        ran = world.tally("audit", "--format", "json", *(kafka if audits % 2 else []), exit=None)
        *found, summary = [json.loads(line) for line in ran.stdout.splitlines()]
        expect_same([], found, f"what audit {audits} beside a collector found ({ran.stderr})")
        expect_same(0, ran.exit, str(ran))
        seen.add(summary["events"])
        audits += 1
    expect(not failures, f"producing failed: {failures}")
    expect(len(seen) > 1, f"{audits} audits all saw {seen} events: nothing was metered beside them")
    collector.send_signal(signal.SIGTERM)
    expect_same(0, collector.wait(30), "the collector's exit")


@test("an audit that loses PostgreSQL says so, and fails without a finding", seconds=120)
def audit_loses_database(world: World) -> None:
    world.own_postgres()
    history = metered(world, 20)
    world.psql("INSERT INTO event SELECT account, vm || '-' || n, source, id, at, type, bootup, sequence, size,"
               " millicpu, memory_bytes, run, reservation, reason, target_source, target_id, origin, position"
               " FROM event, generate_series(1, 200) n")
    process = world.start("audit", "--as-of", iso(history.as_of))
    time.sleep(0.4)
    world.postgres.stop(signal.SIGQUIT)
    stdout, stderr = process.communicate(timeout=60)
    ran = Ran("audit", process.returncode, stdout.decode(), stderr.decode())
    expect_same(1, ran.exit, str(ran))
    expect("PostgreSQL" in ran.stderr, f"does not name PostgreSQL\n{ran}")
    expect("head" not in ran.stdout, f"an audit that was cut off prints a head\n{ran}")


# ---- Kafka ----


def from_kafka(world: World, broker: Broker, as_of: int, exit: Any = 0) -> tuple[list[Finding], Finding]:
    return audit(world, as_of, "--from-kafka", "--brokers", broker.brokers, exit=exit)


def through_kafka(world: World, accounts: int) -> tuple[Broker, History]:
    broker = Broker(world)
    history = draw(world.random, "2026-09", accounts, DEFAULT_CATALOG)
    apply(world, history.accounts)
    repeated = history.lines + world.random.sample(history.lines, len(history.lines) // 10)
    broker.produce(scattered(world.random, repeated, broker.partitions))
    catch_up(world, broker, history.as_of, "--batch-max", 100)
    return broker, history


@test("an audit from Kafka reads all records again and finds nothing, repeats and dead letters included",
      seconds=180, kafka=BOTH)
def audit_from_kafka(world: World) -> None:
    broker, history = through_kafka(world, 40)
    found, summary = from_kafka(world, broker, history.as_of, exit=None)
    expect_same([], found, "what is found")
    events, vms = world.psql("SELECT count(*), count(DISTINCT (account, vm)) FROM event").split("|")
    expect_same([int(events), 0, int(vms)],
                [summary[name] for name in ("topic_events", "topic_gone", "topic_vms")],
                "events that Kafka has, has not, and VMs rebuilt")
    expect(summary["records"] > int(events), f"repeats and dead letters were not read: {summary}")


# What metering may have done wrong, consistently, so that the tables agree with each other; and what
# an audit from Kafka must say.
LOST_VM = "(account, vm) = ('{account}', '{vm}')"
WRONGS: dict[str, tuple[list[str], str]] = {
    "a VM was never metered": (
        ["UPDATE usage_day u SET minutes = u.minutes - d.minutes FROM ({days}) d"
         " WHERE u.account = '{account}' AND u.day = d.day AND u.size = d.size",
         "DELETE FROM run WHERE {lost}", "DELETE FROM vm WHERE {lost}", "DELETE FROM event WHERE {lost}"],
        "was lost"),
    "a reason is another": (
        ["UPDATE event SET reason = 'made up' WHERE {lost} AND type IN (3, 4)"], "another content"),
    "an event is made up": (
        ["INSERT INTO event SELECT account, vm, source, 'made-up', at, 5, NULL, NULL, NULL, NULL, NULL, NULL,"
         " NULL, NULL, source, 'not-there', origin, position FROM event WHERE {lost} LIMIT 1",
         "UPDATE vm SET pending = true WHERE {lost}"], "no such record"),
    "a dead letter is gone": (
        ["DELETE FROM dead_letter WHERE reason = 'malformed'"], "not a dead letter either"),
    "the position is behind": (
        ["UPDATE position p SET next_offset = e.last, last_offset = e.last - 1 FROM (SELECT topic, partition,"
         " max(position) AS last FROM event JOIN origin USING (origin) GROUP BY 1, 2) e"
         " WHERE (p.topic, p.partition) = (e.topic, e.partition)"],
        "would read it again"),
    "the position is ahead": (
        ["UPDATE position SET next_offset = next_offset + 1000, last_offset = last_offset + 1000"],
        "the topic was made anew"),
}


@test("an audit from Kafka finds what metering lost or made up, where the tables agree with each other",
      seconds=240, kafka=BOTH)
def audit_kafka_wrongs(world: World) -> None:
    broker, history = through_kafka(world, 30)
    untouched = world.database
    # A VM of an account with runs of one size on days of their own, so that its minutes can be taken off.
    account, vm = world.psql(
        "SELECT account, vm FROM run GROUP BY 1, 2 HAVING sum(minutes) > 0 AND min(sizes) NOT LIKE '% %'"
        " AND max(sizes) NOT LIKE '% %' AND max(ended_at - started_at) < '20 hours'"
        " AND bool_or(EXISTS (SELECT FROM event e WHERE e.account = run.account AND e.vm = run.vm"
        "                     AND e.type IN (3, 4)))"
        " AND NOT bool_or(EXISTS (SELECT FROM vm v WHERE v.account = run.account AND v.vm = run.vm"
        "                         AND v.phase = 1))"
        " ORDER BY sum(minutes), 1, 2 LIMIT 1").split("|")
    days = (f"SELECT (m AT TIME ZONE 'UTC')::date AS day, sizes AS size, count(*) AS minutes FROM run,"
            f" generate_series(started_at, ended_at - interval '1 us', interval '1 minute') m"
            f" WHERE account = '{account}' AND vm = '{vm}' AND sizes NOT LIKE '% %' GROUP BY 1, 2")
    names = {"account": account, "vm": vm, "days": days,
             "lost": LOST_VM.format(account=account, vm=vm)}
    for number, (what, (statements, words)) in enumerate(WRONGS.items()):
        world.database = f"{untouched}_w{number}"
        world.postgres.create(world.database, untouched)
        for sql in statements:
            world.psql(sql.format(**names))
        found, _ = from_kafka(world, broker, history.as_of, exit=1)
        said = [finding["what"] for finding in found]
        expect(any(words in sentence for sentence in said), f"{what}: {words!r} is not said in {said}")
        if what == "a VM was never metered":
            expect_same([], audit(world, history.as_of, exit=None)[0], "what the tables alone show")
            runs = [f for f in found if f["check"] == "runs" and (f["account"], f["subject"]) == (account, vm)]
            expect(runs and "by Kafka's records alone" in runs[0]["what"], f"no run is missed in {found}")
        world.postgres.psql("postgres", f"DROP DATABASE {world.database}")
    world.database = untouched


@test("an audit from Kafka reaches as far as its retention, and says how far", seconds=120, kafka=("real",))
def audit_retention(world: World) -> None:
    broker, history = through_kafka(world, 20)
    # Half of each partition expires: DeleteRecords, of Kafka's protocol.
    halves = [int(world.psql(f"SELECT next_offset / 2 FROM position WHERE partition = {n}"))
              for n in range(broker.partitions)]
    name = broker.topic.encode()
    body = struct.pack(f">ih{len(name)}si", 1, len(name), name, len(halves))
    body += b"".join(struct.pack(">iq", n, offset) for n, offset in enumerate(halves))
    answer = broker._ask(21, 0, body + struct.pack(">i", 30000))
    expect_same(bytes(2 * len(halves)), b"".join(answer[14 + len(name) + n * 14 + 12:][:2]
                                                 for n in range(len(halves))), "errors of DeleteRecords")
    found, summary = from_kafka(world, broker, history.as_of, exit=None)
    expect_same([], found, "what is found")
    gone = "SELECT count(*) FROM event JOIN origin USING (origin) JOIN (VALUES " + ", ".join(
        f"({n}, {offset})" for n, offset in enumerate(halves)) + ") h (partition, first) USING (partition)"
    kept = "(account, vm) NOT IN (SELECT account, vm FROM event JOIN origin USING (origin) JOIN (VALUES " + ", ".join(
        f"({n}, {offset})" for n, offset in enumerate(halves)) + (
        ") h (partition, first) USING (partition) WHERE position < first)")
    expect_same([int(world.psql(f"{gone} WHERE position >= first")), int(world.psql(f"{gone} WHERE position < first"))],
                [summary["topic_events"], summary["topic_gone"]], "events that Kafka has, and has not")
    expect(summary["topic_gone"] > 0, "nothing has expired")
    expect_same(int(world.psql(f"SELECT count(*) FROM vm WHERE {kept}")), summary["topic_vms"], "VMs rebuilt")
    world.psql("DELETE FROM event WHERE (account, vm, source, id) IN (SELECT account, vm, source, id FROM event"
               " WHERE type = 2 ORDER BY position DESC LIMIT 1)")
    found, _ = from_kafka(world, broker, history.as_of, exit=1)
    expect(any("was lost" in finding["what"] for finding in found), f"the lost heartbeat is not in {found}")


# ---- memory ----


def peak_kib(world: World, as_of: int) -> int:
    process = world.start("audit", "--as-of", iso(as_of))
    peak = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                lines = [line for line in status if line.startswith("VmHWM:")]
        except OSError:
            break
        peak = max([peak] + [int(line.split()[1]) for line in lines])
        time.sleep(0.005)
    stdout, stderr = process.communicate()
    expect_same(0, process.returncode, Failed(stdout.decode()[-2000:] + stderr.decode()).args[0])
    return peak


@test("an audit of ten times the events, of longer histories and of more VMs, takes no more memory",
      seconds=300, heavy=True)
def audit_memory(world: World) -> None:
    apply(world, {"accounts": [{"id": f"acct-{n}", "name": "A",
                                "subscriptions": [{"plan": "scale", "from": "2026-01-01"}]} for n in range(20)]})
    peaks = []
    as_of = 1_796_083_200 * 1_000_000  # 2026-12-01
    for name, vms, minutes in (("few", 2, 500), ("long", 2, 5000), ("many", 20, 500)):
        lines = []
        for account in range(20):
            for vm in range(vms):
                for minute in range(minutes):
                    kind = ("started", "stopped")[minute % 2]
                    at = 1_788_220_800 + minute * 300 + vm  # from 2026-09-01
                    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
                    size = ',"size":"nano"' if kind == "started" else ""
                    lines.append(
                        f'{{"specversion":"1.0","id":"{minute}","source":"/{name}","type":"vm.{kind}",'
                        f'"subject":"{name}-{vm}","time":"{when}",'
                        f'"data":{{"account":"acct-{account}"{size}}}}}'.encode())
        world.fresh()
        apply(world, json.loads((world.folder / "accounts.json").read_text()))
        meter(world, f"{name}.ndjson", lines, as_of)
        peaks.append(peak_kib(world, as_of))
    for peak in peaks[1:]:
        expect(peak < peaks[0] * 1.3, f"peaks of {peaks} KiB")
