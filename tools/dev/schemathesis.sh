# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# schemathesis, the fuzzer that tests/fuzz.py runs: from PyPI, or from wherever pip is told to look,
# into build/venv.

SCHEMATHESIS_VERSION=4.32.5

schemathesis_fetch() {
    local venv=$ROOT/build/venv
    if [[ -x $venv/bin/schemathesis && $(cat "$venv/.version") == "$SCHEMATHESIS_VERSION" ]]; then return; fi
    rm -rf "$venv"
    "$(fuzz_python)" -m venv "$venv" || return
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        "schemathesis==$SCHEMATHESIS_VERSION" || return
    echo "$SCHEMATHESIS_VERSION" >"$venv/.version"
}

# Debian's, which has the venv module that was installed.
fuzz_python() { if [[ -x /usr/bin/python3 ]]; then echo /usr/bin/python3; else echo python3; fi; }

fuzz_tests() { # BINARY [OPTION…]
    local binary=$1 log=$LOGS/fuzz.log status=0 passed=0 failed=0 skipped=0
    shift
    if ! step "fetching schemathesis $SCHEMATHESIS_VERSION" schemathesis_fetch; then
        result skipped "schemathesis asks for everything /openapi.json describes" "it could not be fetched"
        count 0 0 1
        return
    fi
    python3 tests/fuzz.py --binary "$binary" --schemathesis build/venv/bin/schemathesis "$@" 2>&1 |
        tee "$log" | sed 's/^/  /' || status=$?
    read -r passed failed skipped < <(
        sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$log" | tail -n 1
    ) || :
    if ((status && ! failed && ! skipped)); then # empty is 0
        result failed "the fuzzer ended with status $status" "see ${log#"$ROOT"/}"
        failed=1
    fi
    count "${passed:-0}" "${failed:-0}" "${skipped:-0}"
}
