# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev demo: what tally does, in two minutes: a month of events through Kafka and the collector, the month
# closed, the register, and the invoice of the price list's worked example, to the cent; and how an
# orchestrator asks for slots over HTTP.

DEMO_FROM=2026-09-01 DEMO_TO=2026-10-01 # 30 days, as the worked example wants
DEMO_PERIOD=2026-09
DEMO_TOTAL=1223.57
DEMO_VMS=120
DEMO_LAB='{"accounts":[{"id":"juniper","name":"Juniper Lab",
  "subscriptions":[{"plan":"build","from":"2026-01-01","overrides":{"concurrency_limit":1}}]}]}'
# who has how many of every 60 VMs
DEMO_SHARES=(atelier-nord:1 brightwork:1 calder:4 delta-nine:6 elmwood:4 fathom:10 grove:6 harbour:14 isthmus:14)

cmd_demo() {
    local began as_of=()
    (($# == 0)) || bad_usage "demo takes no options"
    need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_POSTGRES[@]}" "${PACKAGES_CURL[@]}"
    build "building with gcc into build/" build_gcc
    began=$SECONDS
    # Where the clock has not come so far yet, the demo's month plays in the future.
    if [[ $(date -u +%F) < 2026-10-02 ]]; then as_of=(--as-of 2026-10-15); fi

    title "A database and a broker"
    database_up on
    broker_up memory

    title "Sizes, prices and plans; ten accounts on all of them (docs/examples/accounts.json)"
    demo_run migrate
    demo_run accounts apply docs/examples/accounts.json

    title "September: a made-up fleet of $DEMO_VMS VMs, and the worked example's 80"
    say "  From Kafka to minutes in PostgreSQL. Some events come twice, some late, some stops not at all."
    collector_up "${as_of[@]}"
    demo_play
    demo_wait

    title "October: closing September"
    demo_run invoices close --period $DEMO_PERIOD "${as_of[@]}"

    title "The register"
    build/tally invoices list --period $DEMO_PERIOD | sed 's/^/  /'

    title "The worked example: 80 nano VMs, 3 hours a day, on Scale"
    demo_example

    title "Ask before you start: one more account, which may run one VM at a time"
    demo_quota
    demo_end $((SECONDS - began))
}

demo_run() {
    say "  ${DIM}\$ tally $*$PLAIN"
    build/tally "$@" 2>&1 | sed 's/^/    /' || die "tally $1 failed"
}

# The producer keeps less than 5 MiB a partition ahead of the collector: the broker in memory would drop it.
demo_play() {
    local fleet=(--seed 9 --from "$DEMO_FROM" --to "$DEMO_TO"
        --vms "$DEMO_VMS" --runs-per-day 2 --heartbeats 300)
    local share i
    fleet+=(--repeats 20 --disorder 300 --lost-stops 5 --worked-example worked-example)
    for share in "${DEMO_SHARES[@]}"; do
        for ((i = 0; i < ${share#*:}; i++)); do fleet+=(--account "${share%:*}"); done
    done
    build/tally simulate "${fleet[@]}" --to-kafka --max-ahead 8000 ||
        die "the events could not be produced"
}

# Everything is metered when the data reaches through to a moment after the last event was sent.
demo_wait() {
    local sent
    sent=$(date -u -d '+1 second' +%FT%T)
    step "the collector has metered it all" wait_for 60 demo_metered "$sent" || {
        tail -n 20 "$TEMP/meter.log" >&2
        die "the collector did not catch up"
    }
}

demo_metered() {
    local through
    through=$(build/tally usage worked-example --format json | sed -nE 's/.*"data_through": *"([^"]+)".*/\1/p')
    [[ ${through:0:19} > $1 ]]
}

demo_example() {
    local number
    number=$(build/tally invoices list --period $DEMO_PERIOD --format json | python3 -c '
import json, sys
print(next(i["number"] for i in json.load(sys.stdin) if i["account"] == "worked-example"))')
    build/tally invoices show "$number" | sed 's/^/  /'
    build/tally invoices show "$number" --format json | grep -q "\"total\": *\"$DEMO_TOTAL\"" ||
        die "the worked example must come to $DEMO_TOTAL"
}

# A slot is reserved, the VM starts and is metered, and a second one finds no slot.
demo_quota() {
    local token
    build/tally accounts apply - <<<"$DEMO_LAB" 2>/dev/null || die "the account was refused"
    server_up --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0
    token=$(make_token orchestrator) || die "there is no token"
    demo_reserve "$token" vm-1 201
    say "  ${DIM}\$ tally meter --file -    # vm.started of vm-1, now$PLAIN"
    demo_start vm-1 | build/tally meter --file - 2>&1 | sed 's/^/    /' || die "the start was not metered"
    demo_reserve "$token" vm-2 429
}

demo_reserve() { # TOKEN VM STATUS
    local body answer status
    body="{\"account\":\"juniper\",\"vm\":\"$2\",\"size\":\"nano\"}"
    say "  ${DIM}\$ curl …/v1/quota/reservations -d '$body'$PLAIN"
    answer=$(curl -sS -m 20 -w '\n%{http_code}' -H "Authorization: Bearer $1" -H 'Content-Type: application/json' \
        -d "$body" "$TALLY_URL/v1/quota/reservations") || die "the server did not answer"
    status=${answer##*$'\n'}
    demo_fold <<<"$status ${answer%$'\n'*}"
    [[ $status == "$3" ]] || die "the answer must be $3"
}

demo_start() { # VM
    printf '{"specversion":"1.0","id":"start-%s","source":"/demo","type":"vm.started","subject":"%s","time":"%s",' \
        "$1" "$1" "$(date -u +%FT%TZ)"
    printf '"data":{"account":"juniper","size":"nano"}}\n'
}

demo_fold() { sed 's/,"/, "/g' | fold -s -w 104 | sed 's/^/    /'; }

demo_end() { # SECONDS
    cat <<END

${BOLD}That took $1 s.$PLAIN 80 x 3 h x 30 days x 10 credits = 72,000 credits; 1,100 are included; 70,900 at
\$0.01486 = \$1,053.57, and \$170.00 for the plan: \$1,223.57.

What to try next:
  ./dev up                                    all of it, running, for trying things by hand
  build/tally estimate --plan scale --size nano --vms 80 --hours 3 --days 30
  build/tally --help                          every command
  README.md                                   a first month by hand
END
}
