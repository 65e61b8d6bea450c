#!/usr/bin/env bash
# Installs what the build needs and is missing, on Debian or Ubuntu: a C++ compiler for RocksDB, and
# libclang for its bindings. Does nothing where everything is there.
set -euo pipefail

# A mirror may fail once, and another installation hold the lock.
patience=(-o Acquire::Retries=5 -o DPkg::Lock::Timeout=300)
missing=()
command -v g++ >/dev/null || missing+=(g++)
command -v make >/dev/null || missing+=(make)
ldconfig -p | grep -q 'libclang[-.]' && ls /usr/lib/llvm-*/lib/clang/*/include/stddef.h >/dev/null 2>&1 || missing+=(libclang-dev)
command -v cargo >/dev/null || { echo "A Rust toolchain is needed: https://rustup.rs" >&2; exit 1; }
[ ${#missing[@]} -eq 0 ] && exit 0

echo "Installing for the build: ${missing[*]}"
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
command -v apt-get >/dev/null || { echo "Install these by hand: ${missing[*]}" >&2; exit 1; }
$sudo apt-get "${patience[@]}" update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get "${patience[@]}" install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
