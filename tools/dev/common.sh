# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What all parts of ./dev share: words for people, clean-up, temporary folders, Debian packages.
# Sourced by ./dev, which has set ROOT and `set -euo pipefail`.

LOGS=$ROOT/build/dev-logs # step keeps each command's output here

# ---- words for people ----
if [[ -t 1 ]]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m' WIPE=$'\r\e[K'
else
    BOLD='' DIM='' RED='' GREEN='' PLAIN='' WIPE=''
fi

say() { printf '%s\n' "$*"; }
title() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    warn "${RED}dev: $*$PLAIN"
    exit 1
}
bad_usage() {
    warn "dev: $*; see ./dev help"
    exit 2
}

# step WHAT COMMAND…: runs the command with its output in a log and says how long it took; a terminal
# shows a running clock meanwhile. Where the command fails, the end of its log is shown. The command
# runs in this shell but must not rely on `set -e`.
step() {
    local what=$1 status=0 began=$SECONDS clock='' log
    shift
    mkdir -p "$LOGS"
    log=$LOGS/$(tr -c 'a-zA-Z0-9\n' '-' <<<"$what" | tr -s '-' | sed 's/^-//; s/-$//').log
    if [[ -t 1 ]]; then
        step_clock "$what" &
        clock=$!
    fi
    "$@" >"$log" 2>&1 || status=$?
    if [[ -n $clock ]]; then
        kill "$clock" 2>/dev/null || :
        wait "$clock" 2>/dev/null || :
    fi
    if ((status == 0)); then
        printf '%s  %sok%s      %s %s(%d s)%s\n' "$WIPE" "$GREEN" "$PLAIN" "$what" "$DIM" $((SECONDS - began)) "$PLAIN"
    else
        printf '%s  %sfailed%s  %s (%d s); the end of %s:\n' "$WIPE" "$RED" "$PLAIN" "$what" $((SECONDS - began)) \
            "${log#"$ROOT"/}"
        tail -n "${STEP_TAIL:-40}" "$log" | sed 's/^/          /'
    fi
    return "$status"
}

step_clock() {
    local began=$SECONDS
    while kill -0 $$ 2>/dev/null; do
        printf '%s  …       %s %s(%d s)%s' "$WIPE" "$1" "$DIM" $((SECONDS - began)) "$PLAIN"
        sleep 1
    done
}

# ---- clean-up ----
# on_exit COMMAND: a line of shell that runs when ./dev ends, however it ends; the last one first.
CLEANUPS=()
on_exit() { CLEANUPS+=("$1"); }

run_cleanups() {
    local status=$? i
    trap - EXIT
    trap '' INT TERM
    for ((i = ${#CLEANUPS[@]} - 1; i >= 0; i--)); do
        eval "${CLEANUPS[i]}" || :
    done
    exit "$status"
}
trap run_cleanups EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Makes a temporary folder, removed at the end, and puts its path in TEMP. Other users may pass through
# it (PostgreSQL never runs as root) but not look into it.
TEMP=
make_temp() {
    [[ -n $TEMP ]] && return
    TEMP=$(mktemp -d "${TMPDIR:-/tmp}/tally.XXXXXX")
    chmod 711 "$TEMP"
    on_exit "rm -rf '$TEMP'"
}

# ---- processes ----
# start_process PIDFILE LOG COMMAND…: in the background and in a session of its own, so that a Ctrl-C
# reaches ./dev first, which then stops things in order.
start_process() {
    local pid_file=$1 log=$2
    shift 2
    setsid "$@" </dev/null >"$log" 2>&1 &
    echo $! >"$pid_file"
}

process_runs() { [[ -s $1 ]] && kill -0 "$(<"$1")" 2>/dev/null; }

# stop_process PIDFILE [SECONDS]: asks, waits, then insists. Fine where it has ended already.
stop_process() {
    local pid_file=$1 patience=${2:-10} pid i
    [[ -s $pid_file ]] || return 0
    pid=$(<"$pid_file")
    rm -f "$pid_file"
    kill -TERM "$pid" 2>/dev/null || return 0
    for ((i = 0; i < patience * 10; i++)); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || :
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# port_or_free PORT: that port of this machine's where it is free, else one that is.
port_or_free() {
    python3 -c '
import socket, sys
for port in (int(sys.argv[1]), 0):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(s.getsockname()[1])
        break' "$1"
}

# ---- Debian packages ----
# shellcheck disable=SC2034 # the other parts use them
{
    PACKAGES_BUILD=(gcc libc6-dev meson ninja-build pkg-config python3 libpq-dev librdkafka-dev libcjson-dev libmicrohttpd-dev check)
    PACKAGES_CLANG=(clang libclang-rt-14-dev)
    PACKAGES_POSTGRES=(postgresql)
    PACKAGES_CURL=(curl)
    PACKAGES_KAFKA=(openjdk-17-jre-headless maven python3)
    PACKAGES_FUZZ=(python3 python3-venv)
    PACKAGES_LINT=(clang-format clang-tidy shellcheck python3)
}

package_missing() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) != installed ]]; }

as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        sudo -- "$@"
    fi
}

# need_packages NAME…: installs those that are missing; asks nothing of anybody where none is.
need_packages() {
    local missing=() package
    command -v dpkg-query >/dev/null || {
        warn "dev: this is not Debian; going on in the hope that there is an equal of: $*"
        return
    }
    for package in "$@"; do
        if package_missing "$package"; then missing+=("$package"); fi
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)) && ! command -v sudo >/dev/null; then
        die "packages are missing, and there is no sudo here: as root, run apt-get install ${missing[*]}"
    fi
    say "Installing Debian packages: ${missing[*]}"
    if ((EUID != 0)); then sudo -v || die "installing packages needs root"; fi
    step "package lists" as_root apt-get update || die "apt-get update failed"
    step "packages" install_packages "${missing[@]}" || die "apt-get install failed"
}

# Debian's postgresql would make a cluster of its own and start it; nothing here uses that, so it is told
# not to, for the time of the installation.
install_packages() {
    local folder=/etc/postgresql-common/createcluster.d file status=0 made=''
    file=$folder/tally-dev.conf
    if package_missing postgresql-common; then
        as_root mkdir -p "$folder"
        as_root sh -c "echo 'create_main_cluster = false' >'$file'"
        made=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" </dev/null || status=$?
    if [[ -n $made ]]; then
        as_root rm -f "$file"
        as_root rmdir --ignore-fail-on-non-empty "$folder"
    fi
    return "$status"
}
