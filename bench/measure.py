# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: running tally and psql, timing, and printing a ratio.

A figure by itself says little on a machine that others use too. So each benchmark measures two things
in turns within one run, and prints the ratio of their medians beside the figures.
"""
import json
import os
import re
import statistics
import subprocess
import sys
import time

EVENT_COLUMNS = ("account, vm, source, id, at, type, bootup, sequence, size, millicpu, memory_bytes, run,"
                 " reservation, reason, target_source, target_id, origin, position")
BATCH = 50_000  # rows a COPY, as many as a collector's transaction holds


def tally(binary: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{binary} {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done


def psql(*commands: str, quiet: bool = True) -> str:
    arguments = ["psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", os.environ["TALLY_DATABASE_URL"]]
    arguments += ["-qAt"] if quiet else []
    for command in commands:
        arguments += ["-c", command]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"psql: {done.stderr}")
    return done.stdout


def copy_out(query: str, file: str, rows: int = BATCH) -> list[str]:
    """A query's rows as files of at most `rows` lines."""
    psql(f"\\copy ({query}) to '{file}'")
    names = []
    out = None
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number % rows == 0:
                if out:
                    out.close()
                names.append(f"{file}.{number // rows}")
                out = open(names[-1], "w", encoding="utf-8")
            out.write(line)
    if out:
        out.close()
    return names


def copy_in(table_files: list[tuple[str, str]], folder: str) -> float:
    """Seconds that one session takes to COPY the files into the tables, one transaction each."""
    script = os.path.join(folder, "copy.sql")
    with open(script, "w", encoding="utf-8") as out:
        out.writelines(f"\\copy {table} from '{file}'\n" for table, file in table_files)
    begun = time.monotonic()
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", os.environ["TALLY_DATABASE_URL"],
                    "-f", script], check=True)
    return time.monotonic() - begun


def metered_seconds(stderr: str) -> float:
    """What `tally meter` says it took, from the first message to the last commit."""
    found = re.search(r"(\d+) ms from the first to the last commit", stderr)
    if not found:
        sys.exit(f"tally meter did not say how long it took:\n{stderr}")
    return max(int(found[1]), 1) / 1000


def check_durable() -> None:
    settings = psql("SHOW fsync", "SHOW synchronous_commit").split()
    if settings != ["on", "on"]:
        sys.exit(f"fsync and synchronous_commit are {settings}, not on: these figures would mean nothing")


def report(name: str, ours: list[float], bare: list[float], aim: float, unit: str) -> dict:
    ratio = statistics.median(ours) / statistics.median(bare)
    spread = [a / b for a, b in zip(ours, bare)]
    print(f"  {name:<34} {statistics.median(ours):>10,.0f} {unit}   COPY {statistics.median(bare):>10,.0f} {unit}"
          f"   ratio {ratio:.2f} ({min(spread):.2f}-{max(spread):.2f}), aim {aim}", flush=True)
    return {"name": name, "ours": ours, "copy": bare, "unit": unit, "ratio": round(ratio, 3), "aim": aim}


def write_results(path: str, results: list[dict]) -> None:
    with open(path, "w", encoding="utf-8") as out:
        json.dump(results, out, indent=2)
        out.write("\n")


def accounts(count: int, plan: str = "scale") -> dict:
    return {"accounts": [{"id": f"acct-{n:03d}", "name": f"Account {n}",
                          "subscriptions": [{"plan": plan, "from": "2026-01-01"}]} for n in range(1, count + 1)]}
