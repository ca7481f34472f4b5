# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev test: every test there is, added up in one line.

PASSED=0 FAILED=0 SKIPPED=0

# result ok|failed|skipped WHAT [DETAIL]: one line for people. The counts are the caller's.
result() {
    local colour=$GREEN
    [[ $1 == failed ]] && colour=$RED
    [[ $1 == skipped ]] && colour=$BOLD
    printf '%s  %s%-7s%s %s %s%s%s\n' "$WIPE" "$colour" "$1" "$PLAIN" "$2" "$DIM" "${3:-}" "$PLAIN"
}

count() { PASSED=$((PASSED + $1)) FAILED=$((FAILED + $2)) SKIPPED=$((SKIPPED + $3)); }

show_end() { tail -n 40 "$1" | sed 's/^/          /'; }

# ---- one command, one test ----
simple_test() { # WHAT COMMAND…
    if step "$@"; then count 1 0 0; else count 0 1 0; fi
}

# ---- unit tests: Check programs ----
unit_tests() { # FOLDER
    local program found=0
    for program in "$1"/tests/test_*; do
        if [[ -f $program && -x $program ]]; then
            found=1
            unit_test "$program" "$1"
        fi
    done
    if ((!found)); then
        result failed "$1: there are no unit tests"
        count 0 1 0
    fi
}

# A program that ends with 77 says that it could not run, and why in its last line.
unit_test() { # PROGRAM FOLDER
    local program=$1 name log status=0 summary checks failures errors began=$SECONDS
    name=$(basename "$program")
    log=$LOGS/$2-$name.log
    timeout 600 "$program" >"$log" 2>&1 || status=$?
    if ((status == 77)); then
        result skipped "$name" "$(tail -n 1 "$log")"
        count 0 0 1
        return
    fi
    summary=$(grep -E '^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+$' "$log" | tail -n 1) || :
    if [[ -z $summary ]]; then
        result failed "$name" "ended with status $status before it had counted; ${log#"$ROOT"/} ends with:"
        show_end "$log"
        count 0 1 0
        return
    fi
    read -r checks failures errors < <(sed -E 's/^.*Checks: ([0-9]+), Failures: ([0-9]+), Errors: ([0-9]+)$/\1 \2 \3/' \
        <<<"$summary")
    failures=$((failures + errors))
    if ((status != 0 && failures == 0)); then # a sanitizer's finding at the end of the program
        failures=1 checks=$((checks + 1))
    fi
    if ((failures)); then
        result failed "$name" "$failures of $checks; ${log#"$ROOT"/} ends with:"
        show_end "$log"
    else
        result ok "$name" "$checks checks ($((SECONDS - began)) s)"
    fi
    count $((checks - failures)) "$failures" 0
}

# ---- system tests ----
system_tests() { # BINARY KAFKA LOG-NAME [OPTION…]
    local binary=$1 kafka=$2 log=$LOGS/$3.log jobs=4 status=0 passed=0 failed=0 skipped=0
    shift 3
    python3 tests/system/run.py --binary "$binary" --kafka "$kafka" --jobs "$jobs" "$@" 2>&1 | tee "$log" | sed 's/^/  /' ||
        status=$?
    read -r passed failed skipped < <(
        sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$log" | tail -n 1
    ) || :
    if ((status && ! failed && ! skipped)); then # empty is 0
        result failed "the system tests ended with status $status" "see ${log#"$ROOT"/}"
        failed=1
    fi
    count "${passed:-0}" "${failed:-0}" "${skipped:-0}"
}

real_kafka_tests() { # [OPTION…]
    if ! step "fetching Apache Kafka $KAFKA_VERSION" kafka_fetch; then
        result skipped "system tests on Apache Kafka" "it could not be fetched"
        count 0 0 1
        system_tests build/tally none system-heavy --heavy only
    elif ! step "starting Apache Kafka" kafka_start "$TEMP/kafka"; then
        result failed "Apache Kafka did not start"
        count 0 1 0
    else
        system_tests build/tally "real:$(kafka_brokers "$TEMP/kafka")" system-kafka "$@"
        kafka_stop "$TEMP/kafka"
    fi
}

# ---- the command ----
sanitizer_options() {
    export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export TALLY_TEST_PATIENCE=${TALLY_TEST_PATIENCE:-4} # their binary is slower; so may be the machine
}

cmd_test() {
    local quick='' long=() coverage='' mock_binary=build-asan/tally how=', with sanitizers'
    while (($#)); do
        case $1 in
        --quick) quick=1 mock_binary=build/tally how='' ;;
        --long) long=(--long) && export TALLY_TEST_LONG=1 ;;
        --coverage) coverage=1 ;;
        *) bad_usage "test does not know '$1'" ;;
        esac
        shift
    done
    need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_POSTGRES[@]}" "${PACKAGES_FUZZ[@]}"
    [[ -n $quick ]] || need_packages "${PACKAGES_CLANG[@]}" "${PACKAGES_KAFKA[@]}"
    [[ -z $coverage ]] || need_packages gcovr
    LOGS=$ROOT/build/test-logs
    rm -rf "$LOGS" && mkdir -p "$LOGS"
    make_temp
    on_exit "kafka_stop '$TEMP/kafka'"
    on_exit "pg_stop '$TEMP/postgres'"
    sanitizer_options

    title "Builds"
    simple_test "gcc" build_gcc
    [[ -n $quick ]] || simple_test "clang with address and undefined-behaviour sanitizers" build_asan
    [[ -z $coverage ]] || simple_test "gcc with coverage" build_coverage
    ((FAILED == 0)) || finish

    title "The house's rule"
    simple_test "the check can fail" python3 tools/check_house.py --self-test
    simple_test "includes, walls, layout" python3 tools/check_house.py

    # Unit tests that need a database find one here; each makes a schema or database of its own.
    step "a private PostgreSQL" pg_start "$TEMP/postgres" off || die "PostgreSQL did not start"
    TALLY_TEST_DATABASE_URL=$(pg_url "$TEMP/postgres")
    export TALLY_TEST_DATABASE_URL
    title "Unit tests"
    unit_tests build
    if [[ -z $quick ]]; then
        title "Unit tests, with sanitizers"
        unit_tests build-asan
    fi

    title "System tests on librdkafka's in-memory cluster$how"
    system_tests "$mock_binary" mock system-mock --heavy without "${long[@]}"
    title "An OpenAPI fuzzer$how"
    fuzz_tests "$mock_binary" "${long[@]}"
    if [[ -z $quick ]]; then
        title "System tests on Apache Kafka, and those that take long"
        real_kafka_tests "${long[@]}"
    fi
    [[ -z $coverage ]] || coverage_report
    finish
}

coverage_report() {
    title "Coverage"
    find build-coverage -name '*.gcda' -delete
    unit_tests build-coverage
    system_tests build-coverage/tally mock system-coverage
    gcovr --root . --exclude tests --exclude bench --exclude 'build.*' --object-directory build-coverage
}

finish() {
    local bad=$FAILED
    if [[ ${TALLY_REQUIRE_ALL:-} == 1 ]] && ((SKIPPED)); then
        bad=$((bad + SKIPPED))
        title "Skipped tests count as failures here (TALLY_REQUIRE_ALL=1)."
    fi
    title "Took $((SECONDS / 60)) min $((SECONDS % 60)) s. Logs: build/test-logs"
    say "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    exit $((bad > 0))
}
