#!/usr/bin/env bash
# Measures the gateway's peak memory under large transfers, as `gateway serve` over six chunkd and
# as `gateway standalone`: COUNT uploads of SIZE at a time; then COUNT downloads and COUNT uploads at
# the same time, the downloads from SOURCES objects. With SINGLE set, one PUT and one GET of that
# size too. Every byte that comes back is compared. Fails when a peak is over LIMIT_MIB.
#
#   scripts/measure-memory.sh target/release                        32 x 1 GiB; 45 GB of disk
#   COUNT=8 SIZE=64MiB scripts/measure-memory.sh target/release     a short run
#   SINGLE=10GiB scripts/measure-memory.sh target/release           with a single 10 GiB object
#
# MODES (default "serve standalone") picks the set-ups, DIR (default: a temporary directory) the disk.
set -Eeuo pipefail

bin=${1:?usage: measure-memory.sh DIRECTORY-WITH-THE-BUILT-PROGRAMS}
COUNT=${COUNT:-32} SIZE=${SIZE:-1GiB} SOURCES=${SOURCES:-8} SINGLE=${SINGLE:-}
LIMIT_MIB=${LIMIT_MIB:-256}
MODES=${MODES:-serve standalone}
for program in gateway chunkd transfer-load; do
    [ -x "$bin/$program" ] || { echo "$bin/$program is missing: run make build" >&2; exit 1; }
done

dir=$(mktemp -d "${DIR:-${TMPDIR:-/tmp}}/sextant-memory.XXXXXX")
pids=()
stop_all() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    [ ${#pids[@]} -eq 0 ] || wait "${pids[@]}" 2>/dev/null || true
    pids=()
}
clean_up() { stop_all; rm -rf "$dir"; }
trap clean_up EXIT
trap 'echo "line $LINENO: status $? of: $BASH_COMMAND" >&2' ERR
for signal in HUP INT TERM; do
    trap "echo 'ended by SIG$signal' >&2; exit 1" "$signal"
done

# The keys that transfer-load signs with.
export SEXTANT_ACCESS_KEY=SXTESTACCESSKEY SEXTANT_SECRET_KEY=the-secret-key-of-all-tests
export SEXTANT_CLUSTER_SECRET=the-cluster-secret-of-all-tests SEXTANT_LOG=warn,s3s=off

# Waits for the line that says that a server is ready, and prints its URLs.
urls_in() { # FILE PID
    for _ in $(seq 1200); do
        if grep -q ' is ready at ' "$1"; then
            sed -nE 's/.* is ready at (http:[^ ]+)( \(admin: (http:[^)]+)\))?.*/\1 \3/p' "$1"
            return
        fi
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    echo "a server did not become ready:" >&2
    cat "$1" >&2
    return 1
}

ready() { # ADMIN-URL
    for _ in $(seq 1200); do
        [ "$(curl --silent --noproxy '*' "$1/metrics" | grep -c '^sextant_node_live{.*} 1$')" = 6 ] && return
        sleep 0.1
    done
    echo "six chunk servers did not register" >&2
    return 1
}

start() { # MODE; on an empty disk; sets gateway (its pid) and endpoint
    local listen=(--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0) out="$dir/$1.out" urls admin
    stop_all
    rm -rf "${dir:?}"/*
    if [ "$1" = serve ]; then
        "$bin/gateway" serve --metadata "rocksdb:$dir/serve" --replicas 1 "${listen[@]}" >"$out" 2>&1 &
    else
        "$bin/gateway" standalone --data "$dir/standalone" "${listen[@]}" >"$out" 2>&1 &
    fi
    gateway=$!
    pids+=("$gateway")
    urls=$(urls_in "$out" "$gateway")
    read -r endpoint admin <<<"$urls"
    if [ "$1" = serve ]; then
        for node in 1 2 3 4 5 6; do
            "$bin/chunkd" --data "$dir/chunkd-$node" --listen 127.0.0.1:0 --gateway "$admin" \
                >"$dir/chunkd-$node.out" 2>&1 &
            pids+=("$!")
        done
        ready "$admin"
    fi
    load create-bucket
}

load() { "$bin/transfer-load" --endpoint "$endpoint" --sources "$SOURCES" "$@"; }
many() { load --count "$COUNT" --size "$SIZE" "$@"; }
one() { SOURCES=1 load --count 1 --size "$SINGLE" "$@"; }

failed=0
judge() { # MODE WHAT
    local peak
    peak=$(awk '/^VmHWM:/ { printf "%d", ($2 + 1023) / 1024 }' "/proc/$gateway/status")
    printf '%-12s %-48s %6s MiB\n' "$1" "$2" "$peak"
    [ "$peak" -le "$LIMIT_MIB" ] || failed=1
}

for mode in $MODES; do
    start "$mode"
    judge "$mode" "at rest"
    many upload
    judge "$mode" "$COUNT uploads of $SIZE"
    # An empty disk again: the chunks of deleted objects would stay for a while.
    start "$mode"
    many upload-sources
    many download upload
    judge "$mode" "$COUNT downloads and $COUNT uploads of $SIZE"
    [ -n "$SINGLE" ] || continue
    start "$mode"
    one upload-sources
    judge "$mode" "one upload of $SINGLE"
    one download
    judge "$mode" "one upload and one download of $SINGLE"
done
[ "$failed" = 0 ] || { echo "over the limit of $LIMIT_MIB MiB" >&2; exit 1; }
