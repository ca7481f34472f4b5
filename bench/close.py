#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Invoices/s of a closing over bare COPY of the resulting invoice and line rows into the same tables; and how
the time per invoice grows with the number of accounts.

The bare side writes one period's rows into copies of the tables, with their keys and indexes, in one session. Each
round closes the next period, since what was issued cannot be removed.

For the growth, each number of accounts begins with empty tables. A closing warms up, --rounds are timed, and one more
after 1 % of the accounts had late events in a closed period.
"""
import argparse
import json
import os
import statistics
import tempfile
import time

import measure

PERIODS = ("2026-09", "2026-10", "2026-11", "2026-12")  # the first warms up, and is what COPY writes
TABLES = ("invoice", "invoice_line", "grant_draw", "carried_grant")


def prepare(binary: str, folder: str, count: int) -> None:
    measure.tally(binary, "migrate")
    rows = [{"id": f"acct-{n:07d}", "name": f"Account {n}", "subscriptions": [{"plan": "scale", "from": "2026-01-01"}]}
            for n in range(count)]
    path = os.path.join(folder, "accounts.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump({"accounts": rows}, out)
    measure.tally(binary, "accounts", "apply", path)
    # Usage as a month of metering leaves it: two sizes on each day.
    measure.psql("""INSERT INTO usage_day (account, day, size, minutes)
        SELECT account, day, size, 60 + length(size) FROM account,
            generate_series(date '2026-09-01', date '2026-12-31', interval '1 day') AS day,
            (VALUES ('nano'), ('small')) AS s (size)""", "ANALYZE", "CHECKPOINT")


def close(binary: str, period: str) -> float:
    begun = time.monotonic()
    measure.tally(binary, "invoices", "close", "--period", period, "--as-of", "2027-01-02T00:00:00Z")
    return time.monotonic() - begun


# ---- growth ----
GROWTH_PERIODS = [f"2026-{month:02}" for month in range(1, 13)]
TOUCHED_EACH = 100  # one account in so many


def furnish(binary: str, folder: str, count: int) -> None:
    """Empty tables, and as many accounts, all like one that was applied."""
    measure.psql("DROP SCHEMA public, public_customer CASCADE", "CREATE SCHEMA public")
    measure.tally(binary, "migrate")
    path = os.path.join(folder, "account.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(measure.accounts(1, "pro"), out)
    measure.tally(binary, "accounts", "apply", path)
    measure.psql(f"""INSERT INTO account (account, content)
        SELECT id, jsonb_set(content, '{{id}}', to_jsonb(id))
        FROM account,
            (SELECT 'acct-' || lpad(n::text, 7, '0') AS id FROM generate_series(1000, {count + 998}) AS n) AS more""",
                 "ANALYZE")


def use(period: str) -> None:
    """Four days of every account."""
    measure.psql(f"""INSERT INTO usage_day (account, day, size, minutes)
        SELECT account, date '{period}-01' + n, 'nano', 60 + n FROM account, generate_series(3, 24, 7) AS n""",
                 "ANALYZE usage_day", "CHECKPOINT")


def touch(binary: str, folder: str, period: str) -> None:
    """Late events of some accounts, spread evenly."""
    ids = measure.psql(f"""SELECT account
        FROM (SELECT account, row_number() OVER (ORDER BY account) AS n FROM account) AS numbered
        WHERE n % {TOUCHED_EACH} = 0""").split()
    path = os.path.join(folder, "late.ndjson")
    with open(path, "w", encoding="utf-8") as out:
        for account in ids:
            for kind, hour in (("started", 1), ("stopped", 3)):
                json.dump({"specversion": "1.0", "id": kind, "source": "/bench", "type": f"vm.{kind}",
                           "subject": "late", "time": f"{period}-09T0{hour}:00:00Z",
                           "data": {"account": account, "size": "small"}}, out)
                out.write("\n")
    measure.tally(binary, "meter", "--file", path, "--as-of", "2027-01-02T00:00:00Z")
    measure.psql("CHECKPOINT")


def growth(binary: str, folder: str, count: int, rounds: int) -> dict:
    """Microseconds per invoice: of closings, and of one that adjusts."""
    furnish(binary, folder, count)
    periods = iter(GROWTH_PERIODS)
    times = []
    for _ in range(1 + rounds):
        period = next(periods)
        use(period)
        times.append(close(binary, period) * 1e6 / count)
    touch(binary, folder, GROWTH_PERIODS[0])
    period = next(periods)
    use(period)
    adjusting = close(binary, period) * 1e6 / count
    adjusted = int(measure.psql("SELECT count(*) FROM invoice_line WHERE kind = 'adjustment'"))
    assert adjusted == count // TOUCHED_EACH, f"{adjusted} accounts were adjusted"
    return {"accounts": count, "us": statistics.median(times[1:]), "all_us": times[1:], "adjusting_us": adjusting}


def show_growth(results: list[dict]) -> None:
    least = results[0]
    for result in results:
        us, adjusting = result["us"], result["adjusting_us"]
        print(f"  {result['accounts']:>10,} accounts {us:>6.0f} us an invoice, ratio {us / least['us']:.2f}"
              f" ({min(result['all_us']):.0f}-{max(result['all_us']):.0f} us), aim 1.2;"
              f" with 1 % adjusted {adjusting:>6.0f} us, ratio {adjusting / least['adjusting_us']:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="build/tally")
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--growth", default="10000,100000", metavar="N,...", help="accounts to compare; none: ''")
    parser.add_argument("--large", action="store_true", help="compare with 1,000,000 accounts, too: many minutes")
    parser.add_argument("--rounds", type=int, default=3, help="closings to time for each number of accounts")
    parser.add_argument("--json", default="build/bench-close.json")
    args = parser.parse_args()
    measure.check_durable()
    with tempfile.TemporaryDirectory() as folder:
        prepare(args.binary, folder, args.accounts)
        close(args.binary, PERIODS[0])
        invoices = int(measure.psql("SELECT count(*) FROM invoice"))
        files = []
        for table in TABLES:
            measure.psql(f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING INDEXES)")
            order = "number, line" if table == "invoice_line" else "number"
            query = f"SELECT * FROM {table} ORDER BY {order}"
            files += [(f"bare_{table}", name)
                      for name in measure.copy_out(query, os.path.join(folder, table), args.accounts)]
        ours, bare = [], []
        for period in PERIODS[1:]:
            measure.psql(*[f"TRUNCATE bare_{table}" for table in TABLES], "CHECKPOINT")
            bare.append(invoices / measure.copy_in(files, folder))
            ours.append(invoices / close(args.binary, period))
        results = [measure.report("close", ours, bare, 0.5, "invoices/s")]
        counts = [int(count) for count in args.growth.split(",") if count] + [1_000_000] * args.large
        grown = [growth(args.binary, folder, count, args.rounds) for count in counts]
        show_growth(grown)
        measure.write_results(args.json, results + grown)


if __name__ == "__main__":
    main()
