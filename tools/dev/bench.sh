# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev bench: the ratios. Each is of two things measured in one run, on durable PostgreSQL (fsync and
# synchronous_commit on); bench/NAME.py does the measuring and explains it.

cmd_bench() {
    local name=${1:-}
    [[ $name =~ ^(meter|close|quota|usage|audit)$ ]] ||
        bad_usage "bench measures meter, close, quota, usage or audit, not '$name'"
    shift
    need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_POSTGRES[@]}"
    [[ $name != meter ]] || need_packages "${PACKAGES_KAFKA[@]}"
    build "building with gcc into build/" build_gcc
    title "What it is measured on"
    database_up on
    if [[ $name == meter ]]; then
        broker_up kafka
        local topic
        for topic in bench.with bench.starts; do
            [[ ! -d ${TEMP:-}/kafka ]] || kafka_topic "$TEMP/kafka" "$topic" 4 >/dev/null || die "no topic $topic"
        done
    fi
    title "Measuring"
    python3 "bench/$name.py" --binary build/tally "$@"
}
