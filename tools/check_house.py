#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the house's rule on every .c and .h file: includes go down the floors only, and each foreign
library has one wall; no floating point near amounts; licence, length and width.

usage: tools/check_house.py [--self-test]

Prints `file:line: what is wrong`, then a count; exit status 1 where anything is. --self-test runs the
check on a small house with every fault in it and tells whether each is found.
"""
import os
import re
import sys
import tempfile

FLOORS = {
    'cli': 8,
    'api': 7, 'reports': 7,
    'audit': 6,
    'billing': 5,
    'meter': 4,
    'quota': 3,
    'catalog': 2, 'notices': 2,
    'db': 1, 'kafka': 1, 'simulate': 1,
    'base': 0,
}
BESIDE = ('tests', 'bench', 'tools')  # may include anything of ours

# Who may include a foreign header: files, or folders (with a slash).
WALLS = {
    'libpq-fe.h': ('db/db.c', 'db/copy.c', 'db/internal.h'),
    'librdkafka/rdkafka.h': ('kafka/', 'tests/tool_mock.c'),
    'librdkafka/rdkafka_mock.h': ('kafka/', 'tests/tool_mock.c'),
    'microhttpd.h': ('api/server.c',),
    'cjson/cJSON.h': ('base/json.c',),
}
FLOAT_ALLOWED = ('base/json.c',)  # cJSON's numbers are doubles

LINES_MAX = 600
WIDTH_MAX = 110  # a test's long string need not be broken

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
FLOAT = re.compile(r'\b(float|double)\b')
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
# A comment, a string or a character: whichever begins first wins, so that "//" in a string is a string.
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def code_only(text):
    """The text with comments, strings and characters gone; the lines keep their numbers."""
    return NOT_CODE.sub(lambda found: '\n' * found.group().count('\n'), text)


def check_include(path, room, quoted, name):
    """What is wrong with this include, or None."""
    for wall, doors in WALLS.items():
        # <rdkafka.h> and <librdkafka/rdkafka.h> are the same header
        if os.path.basename(name) == os.path.basename(wall):
            if any(path == door or door.endswith('/') and path.startswith(door) for door in doors):
                return None
            return f'<{wall}> is included outside of {" ".join(doors)}'
    if not quoted or room in BESIDE:
        return None
    other = name.split('/')[0] if '/' in name else None
    if other == room:
        return None
    if other is None:
        return f'"{name}" does not say its room: write "{room}/{name}"'
    if other not in FLOORS:
        return f'"{name}" is in no room'
    if FLOORS[other] > FLOORS[room]:
        return f'"{name}" is up: {room}/ is on floor {FLOORS[room]}, {other}/ on {FLOORS[other]}'
    if FLOORS[other] == FLOORS[room]:
        return f'"{name}" is across: {room}/ and {other}/ are both on floor {FLOORS[room]}'
    return None


def check_file(path, text):
    """Yields (line, what) for each finding; path is relative to the root, with slashes."""
    room = path.split('/')[0]
    lines = text.split('\n')
    if lines[-1] == '':
        lines.pop()
    if room not in FLOORS and room not in BESIDE:
        yield 1, f'{room}/ is not a room; the rooms are {" ".join(FLOORS)}'
        return
    if not any('SPDX-License-Identifier: Apache-2.0' in line for line in lines[:3]):
        yield 1, 'no "SPDX-License-Identifier: Apache-2.0" at the top'
    if len(lines) > LINES_MAX:
        yield LINES_MAX + 1, f'{len(lines)} lines; {LINES_MAX} are enough for a file'
    for number, line in enumerate(lines, 1):
        if len(line) > WIDTH_MAX and (room != 'tests' or len(STRING.sub('""', line)) > WIDTH_MAX):
            yield number, f'{len(line)} columns; {WIDTH_MAX} are enough for a line'
        include = INCLUDE.match(line)
        what = include and check_include(path, room, include[1] == '"', include[2])
        if what:
            yield number, what
    if path not in FLOAT_ALLOWED:
        for number, line in enumerate(code_only(text).split('\n'), 1):
            found = FLOAT.search(line)
            if found:
                yield number, f'{found[1]}: amounts, times and ratios are integers'


def files_of(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(('.', 'build')))
        for name in sorted(names):
            if name.endswith(('.c', '.h')):
                path = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, '/')
                if '/' in path:
                    yield path


def check_tree(root):
    files, findings = 0, []
    for path in files_of(root):
        files += 1
        with open(os.path.join(root, path), encoding='utf-8') as source:
            text = source.read()
        findings += [f'{path}:{line}: {what}' for line, what in sorted(check_file(path, text))]
    return files, findings


SPDX = '// SPDX-License-Identifier: Apache-2.0\n'
# path, text, what its one finding says (None: it has none)
FAULTS = [
    ('base/fine.c', SPDX + '#include "base/fine.h"\n#include <stdio.h>\n// a double "float"\n', None),
    ('cli/fine.c', SPDX + '#include "billing/rate.h"\n#include "base/time.h"\n', None),
    ('tests/test_fine.c', SPDX + '#include "cli/options.h"\n#include <check.h>\n', None),
    ('kafka/fine.c', SPDX + '#include <librdkafka/rdkafka.h>\n', None),
    ('meter/fine.c', SPDX + '#include "meter/meter_sql.h"\nconst char *p = "// double";\n', None),
    ('base/json.c', SPDX + '#include <cjson/cJSON.h>\ndouble d;\n', None),
    ('base/up.c', SPDX + '#include "db/db.h"\n', ':2: "db/db.h" is up'),
    ('meter/up.c', SPDX + '\n  #  include "billing/rate.h"\n', ':3: "billing/rate.h" is up'),
    ('reports/across.c', SPDX + '#include "api/api.h"\n', ':2: "api/api.h" is across'),
    ('db/across.c', SPDX + '#include "kafka/kafka.h"\n', ':2: "kafka/kafka.h" is across'),
    ('cli/nowhere.c', SPDX + '#include "attic/box.h"\n', ':2: "attic/box.h" is in no room'),
    ('cli/bare.c', SPDX + '#include "cli.h"\n', ':2: "cli.h" does not say its room'),
    ('meter/wall.c', SPDX + '#include <libpq-fe.h>\n', ':2: <libpq-fe.h> is included outside'),
    ('db/more.c', SPDX + '#include <postgresql/libpq-fe.h>\n', ':2: <libpq-fe.h> is included outside'),
    ('db/wall.c', SPDX + '#include <librdkafka/rdkafka.h>\n', ':2: <librdkafka/rdkafka.h> is included'),
    ('tests/test_wall.c', SPDX + '#include <rdkafka_mock.h>\n', ':2: <librdkafka/rdkafka_mock.h> is'),
    ('api/wall.c', SPDX + '#include <microhttpd.h>\n', ':2: <microhttpd.h> is included outside'),
    ('base/wall.c', SPDX + '#include <cjson/cJSON.h>\n', ':2: <cjson/cJSON.h> is included outside'),
    ('base/float.h', SPDX + '/* float\n */ long double x;\n', ':3: double'),
    ('attic/room.c', SPDX, ':1: attic/ is not a room'),
    ('base/licence.c', 'int x;\n', ':1: no "SPDX'),
    ('base/long.c', SPDX + '\n' * LINES_MAX, f':{LINES_MAX + 1}: {LINES_MAX + 1} lines'),
    ('tests/wide.c', SPDX + 'f("{' + '\\"a\\"' * WIDTH_MAX + '}");\n', None),
    ('base/wide.c', SPDX + '/' * (WIDTH_MAX + 1) + '\n', f':2: {WIDTH_MAX + 1} columns'),
]


def self_test():
    wrong = 0
    with tempfile.TemporaryDirectory() as root:
        for path, text, _ in FAULTS:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), 'w', encoding='utf-8') as source:
                source.write(text)
        files, findings = check_tree(root)
        for path, _, expected in FAULTS:
            found = [f for f in findings if f.startswith(path + ':')]
            right = not found if expected is None else len(found) == 1 and found[0].startswith(path + expected)
            if not right:
                wrong += 1
                print(f'{path}: expected {expected}, found {found}')
    print(f'self-test: {files} files, {wrong} wrong')
    return wrong


def main():
    if sys.argv[1:] == ['--self-test']:
        return 1 if self_test() else 0
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    files, findings = check_tree(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    print('\n'.join(findings + [f'{files} files, {len(findings)} findings']))
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
