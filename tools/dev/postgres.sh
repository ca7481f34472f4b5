# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A private PostgreSQL in a folder: reached through a Unix socket that only its owner can get at, no port,
# trust inside. As root it runs as the user that Debian's package made, since PostgreSQL refuses root.

pg_bin() {
    local newest
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
    if [[ -x $newest ]]; then
        dirname "$newest"
    else
        pg_config --bindir
    fi
}

pg_as_owner() {
    if ((EUID == 0)); then
        runuser -u postgres -- "$@"
    else
        "$@"
    fi
}

# pg_start DIR [FSYNC]: makes a cluster in DIR (new) and starts it; FSYNC is on (default) or off. Its
# superuser and its one database are called tally. The log is DIR/log; pg_url DIR is the way in.
pg_start() {
    local dir=$1 fsync=${2:-on} bin settings
    bin=$(pg_bin)
    mkdir -p "$dir" && chmod 700 "$dir" || return
    if ((EUID == 0)); then chown postgres: "$dir" || return; fi
    pg_as_owner mkdir "$dir/socket" || return
    pg_as_owner "$bin/initdb" -D "$dir/data" -U tally -A trust --encoding=UTF8 --no-locale --no-sync || return
    settings="-c listen_addresses='' -c unix_socket_directories='$dir/socket' -c fsync=$fsync"
    settings+=" -c synchronous_commit=$fsync -c full_page_writes=$fsync -c shared_buffers=256MB"
    settings+=" -c max_wal_size=4GB -c max_connections=200 -c timezone=UTC -c log_timezone=UTC"
    pg_as_owner "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -o "$settings" -w -t 60 start || return
    pg_as_owner "$bin/createdb" -h "$dir/socket" -U tally tally
}

pg_url() { echo "postgresql:///tally?host=$1/socket&user=tally"; }

pg_stop() {
    [[ -s $1/data/postmaster.pid ]] || return 0
    pg_as_owner "$(pg_bin)/pg_ctl" -D "$1/data" -m fast -w -t 60 stop >/dev/null
}
