#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds files into the binary.

embed.py sql ROOM OUT_H OUT_C FILE...         statements: SQL_<ROOM>_<NAME> for each ROOM/sql/NAME.sql
embed.py migrations OUT_C FILE...             the array MIGRATIONS, in order of their numbers
embed.py text SYMBOL OUT_C FILE               one text, `const char SYMBOL[]`
"""
import pathlib
import sys


def quoted(text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for line in lines)
    return "\n    ".join(f'"{line}"' for line in escaped)


def sql(room: str, out_h: str, out_c: str, files: list[str]) -> None:
    head = [f"// Made by tools/embed.py from {room}/sql/*.sql", "#pragma once", '#include "db/db.h"']
    body = [f'#include "{room}/{room}_sql.h"']
    names = []
    for file in sorted(files):
        name = pathlib.Path(file).stem
        symbol = f"SQL_{room}_{name}".upper()
        names.append(symbol)
        head.append(f"extern const Statement {symbol};")
        text = pathlib.Path(file).read_text(encoding="utf-8")
        body.append(f'const Statement {symbol} = {{"{room}/{name}",\n    {quoted(text)}}};')
    head.append(f"extern const Statement *const SQL_{room.upper()}_ALL[]; // ends with NULL")
    every = ", ".join(f"&{name}" for name in names)
    body.append(f"const Statement *const SQL_{room.upper()}_ALL[] = {{{every}, NULL}};")
    pathlib.Path(out_h).write_text("\n".join(head) + "\n", encoding="utf-8")
    pathlib.Path(out_c).write_text("\n".join(body) + "\n", encoding="utf-8")


def migrations(out_c: str, files: list[str]) -> None:
    rows = []
    for file in sorted(files):
        path = pathlib.Path(file)
        text = path.read_text(encoding="utf-8")
        rows.append(f'    {{{int(path.stem.split("_")[0])}, "{path.stem}",\n    {quoted(text)}}},')
    body = ['#include "db/db.h"', "const Migration MIGRATIONS[] = {", *rows, "    {0, NULL, NULL},", "};"]
    pathlib.Path(out_c).write_text("\n".join(body) + "\n", encoding="utf-8")


def text(symbol: str, out_c: str, file: str) -> None:
    content = pathlib.Path(file).read_text(encoding="utf-8")
    body = [f"extern const char {symbol}[];", f"const char {symbol}[] =\n    {quoted(content)};"]
    pathlib.Path(out_c).write_text("\n".join(body) + "\n", encoding="utf-8")


def main() -> None:
    kind, *rest = sys.argv[1:]
    if kind == "sql":
        sql(rest[0], rest[1], rest[2], rest[3:])
    elif kind == "migrations":
        migrations(rest[0], rest[1:])
    elif kind == "text":
        text(*rest)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
