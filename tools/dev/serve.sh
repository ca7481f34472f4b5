# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# `tally serve` beside the collector, and tokens to ask it with. For up and the demo.

# server_up [OPTION…]: `tally serve` in the background; its messages go to $TEMP/serve.log. Sets
# TALLY_URL and SERVER_METRICS_URL. It publishes notices where TALLY_KAFKA_BROKERS is set.
server_up() {
    make_temp
    on_exit "stop_process '$TEMP/serve.pid' 20"
    start_process "$TEMP/serve.pid" "$TEMP/serve.log" build/tally serve "$@"
    wait_for 20 server_settled
    TALLY_URL=$(server_said url)
    # shellcheck disable=SC2034 # up tells it
    SERVER_METRICS_URL=$(server_said metrics_url)
    export TALLY_URL
    [[ -n $TALLY_URL ]] || {
        cat "$TEMP/serve.log" >&2
        die "the server did not start"
    }
}

server_said() { sed -nE "s|.*\"$1\": *\"([^\"]+)\".*|\1|p" "$TEMP/serve.log" | head -n 1; }
server_settled() { [[ -n $(server_said url) ]] || ! process_runs "$TEMP/serve.pid"; }

# make_token ROLE [ACCOUNT]: prints a token that is good for a day.
make_token() {
    build/tally tokens create --role "$1" ${2:+--account "$2"} --note "./dev" \
        --expires "$(date -u -d '+1 day' +%FT%TZ)" 2>"$TEMP/tokens.log" || {
        cat "$TEMP/tokens.log" >&2
        return 1
    }
}
