# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The database and the broker that demo, up and bench run on: the user's own where the environment names
# them, else private ones that end with ./dev.

# database_up [FSYNC]: sets TALLY_DATABASE_URL.
database_up() {
    if [[ -n ${TALLY_DATABASE_URL:-} ]]; then
        say "  database  yours, from TALLY_DATABASE_URL; what is written to it stays there"
        return
    fi
    make_temp
    on_exit "pg_stop '$TEMP/postgres'"
    step "PostgreSQL in $TEMP" pg_start "$TEMP/postgres" "${1:-on}" || die "PostgreSQL did not start"
    TALLY_DATABASE_URL=$(pg_url "$TEMP/postgres")
    export TALLY_DATABASE_URL
}

# broker_up memory|kafka: sets TALLY_KAFKA_BROKERS. The topics are there afterwards, unless the brokers
# are the user's.
broker_up() {
    if [[ -n ${TALLY_KAFKA_BROKERS:-} ]]; then
        say "  Kafka     yours, from TALLY_KAFKA_BROKERS; topic ${TALLY_TOPIC:-vm.lifecycle} must be there"
        return
    fi
    make_temp
    if [[ $1 == memory ]]; then
        broker_in_memory
    else
        step "fetching Apache Kafka $KAFKA_VERSION" kafka_fetch || die "Apache Kafka is not to be had"
        on_exit "kafka_stop '$TEMP/kafka'"
        step "Apache Kafka" kafka_start "$TEMP/kafka" || die "Apache Kafka did not start"
        step "its topic" kafka_topic "$TEMP/kafka" "${TALLY_TOPIC:-vm.lifecycle}" 4 || die "no topic"
        TALLY_KAFKA_BROKERS=$(kafka_brokers "$TEMP/kafka")
    fi
    export TALLY_KAFKA_BROKERS
}

# The broker ends when its standard input does: with ./dev, however that ends.
broker_in_memory() {
    local line=''
    coproc BROKER { exec build/tests/tool_mock --partitions 4 --topic "${TALLY_TOPIC:-vm.lifecycle}"; }
    read -r -t 20 line <&"${BROKER[0]}" || :
    [[ $line == brokers=* ]] || die "the in-memory broker did not start"
    TALLY_KAFKA_BROKERS=${line#brokers=}
    say "  ${GREEN}ok${PLAIN}      a broker in memory (librdkafka's mock cluster): what it holds is gone when it ends"
}

# collector_up: `tally meter` in the background; its messages go to $TEMP/meter.log.
collector_up() {
    make_temp
    on_exit "stop_process '$TEMP/meter.pid' 20"
    start_process "$TEMP/meter.pid" "$TEMP/meter.log" build/tally meter "$@"
    sleep 0.5
    process_runs "$TEMP/meter.pid" || {
        cat "$TEMP/meter.log" >&2
        die "the collector ended"
    }
}
