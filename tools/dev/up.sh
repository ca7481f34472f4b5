# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev up: everything running until Ctrl-C, for trying things by hand.

UP_ACCOUNT=worked-example # of docs/examples/accounts.json: whose the customer's token is

cmd_up() {
    local broker=memory
    while (($#)); do
        case $1 in
        --kafka) broker=kafka ;;
        *) bad_usage "up does not know '$1'" ;;
        esac
        shift
    done
    need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_POSTGRES[@]}" "${PACKAGES_CURL[@]}"
    [[ $broker == memory ]] || need_packages "${PACKAGES_KAFKA[@]}"
    build "building with gcc into build/" build_gcc
    title "Starting"
    database_up on
    broker_up "$broker"
    up_notices_topic
    step "tally migrate" build/tally migrate || die "the database could not be prepared"
    step "tally accounts apply docs/examples/accounts.json" build/tally accounts apply docs/examples/accounts.json ||
        die "the accounts were refused"
    local collector_metrics
    collector_metrics=127.0.0.1:$(port_or_free 8482)
    collector_up --metrics-listen "$collector_metrics"
    server_up --listen "127.0.0.1:$(port_or_free 8480)" --metrics-listen "127.0.0.1:$(port_or_free 8481)"
    up_tell "http://$collector_metrics/metrics"
    up_attend
}

# The topic of notices, where the broker is ours.
up_notices_topic() {
    local answer=''
    if [[ -n ${BROKER_PID:-} ]]; then
        # shellcheck disable=SC2153 # BROKER is broker_in_memory's coproc
        echo "topic tally.notices 4" >&"${BROKER[1]}"
        read -r -t 20 answer <&"${BROKER[0]}" || :
        [[ $answer == ok ]] || die "the broker made no topic tally.notices: $answer"
    elif [[ -d ${TEMP:-/nowhere}/kafka ]]; then
        step "the topic of notices" kafka_topic "$TEMP/kafka" tally.notices 4 || die "no topic tally.notices"
    fi
}

up_tell() { # COLLECTOR_METRICS_URL
    local role token tokens=''
    for role in orchestrator finance admin; do
        token=$(make_token "$role") || die "there is no token"
        tokens+="  export ${role^^}='$token'"$'\n'
    done
    token=$(make_token customer "$UP_ACCOUNT") || die "there is no token"
    tokens+="  export CUSTOMER='$token'   # sees $UP_ACCOUNT"

    title "All of it runs until Ctrl-C. In another shell, here:"
    cat <<TRY
  export TALLY_DATABASE_URL='$TALLY_DATABASE_URL'
  export TALLY_KAFKA_BROKERS='$TALLY_KAFKA_BROKERS'
  export PATH="\$PATH:$ROOT/build"
  export TALLY_URL='$TALLY_URL'
$tokens

  tally simulate --help                               a fleet's events
  tally usage $UP_ACCOUNT --from 2026-09-01 --to 2026-10-01 --format table
  curl -H "Authorization: Bearer \$CUSTOMER" \$TALLY_URL/v1/accounts/$UP_ACCOUNT/quota
  tally tokens create --role customer --account ID    another customer's; these are good for a day
  tally --help                                        everything else
  README.md                                           a first month, and a first reservation, by hand

  $TALLY_URL/openapi.json describes what the service answers.
  Metrics: $SERVER_METRICS_URL/metrics (server), $1 (collector)

The collector and the server say:
TRY
}

# Until one of them ends; a signal ends this, and then both.
up_attend() {
    tail -q -n +1 -f "$TEMP/meter.log" "$TEMP/serve.log" &
    on_exit "kill $! 2>/dev/null"
    while process_runs "$TEMP/meter.pid" && process_runs "$TEMP/serve.pid"; do sleep 0.5; done
    sleep 0.5 # its last words
    if process_runs "$TEMP/serve.pid"; then die "the collector ended by itself"; fi
    die "the server ended by itself"
}
