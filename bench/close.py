#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Invoices/s of a closing over bare COPY of the resulting invoice and line rows into the same tables.

The bare side writes one period's rows into copies of the tables, with their keys and indexes, in one session. Each
round closes the next period, since what was issued cannot be removed.
"""
import argparse
import json
import os
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="build/tally")
    parser.add_argument("--accounts", type=int, default=20_000)
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
        measure.write_results(args.json, [measure.report("close", ours, bare, 0.5, "invoices/s")])


if __name__ == "__main__":
    main()
