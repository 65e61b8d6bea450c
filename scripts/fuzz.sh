#!/usr/bin/env bash
# Builds the fuzzer and runs its targets one after the other; docs/adr/0026-fuzzing.md has the reasons.
#
#   scripts/fuzz.sh TARGET-DIRECTORY SECONDS            each target for so long
#   scripts/fuzz.sh TARGET-DIRECTORY SECONDS policy     one of them
#
# What a run learns stays in TARGET-DIRECTORY/fuzz/corpus and serves the next one. An input that breaks a
# target is written to TARGET-DIRECTORY/fuzz/findings, and its target's name is printed at the end.
set -euo pipefail

target_dir=$(realpath "${1:?usage: fuzz.sh TARGET-DIRECTORY SECONDS [TARGET…]}") seconds=${2:?} && shift 2
cd "$(dirname "$0")/../fuzz"

# RocksDB as the ordinary build has compiled it: 20 CPU-minutes that need not be spent again.
library=$(ls -t "$target_dir"/release/build/librocksdb-sys-*/out/librocksdb.a 2>/dev/null | head -n 1)
[ -n "$library" ] || { echo "no librocksdb.a below $target_dir: run make build" >&2; exit 1; }
export ROCKSDB_LIB_DIR=${library%/*} ROCKSDB_STATIC=1

# What libFuzzer needs of each crate, in flags that the stable compiler takes.
coverage=(level=4 inline-8bit-counters pc-table trace-compares)
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module ${coverage[*]/#/-Cllvm-args=-sanitizer-coverage-}"
export RUSTFLAGS
host=$(rustc -vV | sed -n 's/^host: //p')
# The versions of the workspace, and libFuzzer.
cp ../Cargo.lock .
cargo build --release --ignore-rust-version --target "$host" --target-dir "$target_dir/fuzz"
fuzzer=$target_dir/fuzz/$host/release/fuzz

[ $# -gt 0 ] || set -- $(ls seeds)
mkdir -p "$target_dir/fuzz/findings"
failed=()
for target in "$@"; do
    [ -d "seeds/$target" ] || { echo "no such target; there are: $(ls -x seeds)" >&2; exit 1; }
    corpus=$target_dir/fuzz/corpus/$target
    mkdir -p "$corpus"
    options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1
        -artifact_prefix="$target_dir/fuzz/findings/$target-")
    [ ! -f "dictionaries/$target" ] || options+=(-dict="dictionaries/$target")
    [ ! -d "regressions/$target" ] || set_apart="regressions/$target"
    echo "== $target for $seconds s"
    SEXTANT_FUZZ_TARGET=$target "$fuzzer" "${options[@]}" "$corpus" "seeds/$target" ${set_apart:-} 2>&1 |
        grep -vE '^#.*(NEW|REDUCE|RELOAD|pulse)' || failed+=("$target")
    unset set_apart
done
[ ${#failed[@]} -eq 0 ] || { echo "findings: ${failed[*]}; the inputs are in $target_dir/fuzz/findings" >&2; exit 1; }
