# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev up: everything running until Ctrl-C, for trying things by hand.

cmd_up() {
    local broker=memory
    while (($#)); do
        case $1 in
        --kafka) broker=kafka ;;
        *) bad_usage "up does not know '$1'" ;;
        esac
        shift
    done
    need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_POSTGRES[@]}"
    [[ $broker == memory ]] || need_packages "${PACKAGES_KAFKA[@]}"
    build "building with gcc into build/" build_gcc
    title "Starting"
    database_up on
    broker_up "$broker"
    step "tally migrate" build/tally migrate || die "the database could not be prepared"
    step "tally accounts apply docs/examples/accounts.json" build/tally accounts apply docs/examples/accounts.json ||
        die "the accounts were refused"
    collector_up

    title "All of it runs until Ctrl-C. In another shell, here:"
    cat <<TRY
  export TALLY_DATABASE_URL='$TALLY_DATABASE_URL'
  export TALLY_KAFKA_BROKERS='$TALLY_KAFKA_BROKERS'
  export PATH="\$PATH:$ROOT/build"

  tally simulate --help                               a fleet's events
  tally usage worked-example --from 2026-09-01 --to 2026-10-01 --format table
  tally --help                                        everything else

The collector says:
TRY
    tail -n +1 -f --pid="$(<"$TEMP/meter.pid")" "$TEMP/meter.log" &
    wait $! # so that a signal ends this at once
    die "the collector ended by itself"
}
