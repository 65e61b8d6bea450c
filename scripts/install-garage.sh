#!/usr/bin/env bash
# Installs Garage, the S3 server that benchmarks compare with, from crates.io into a folder of its
# own (first argument), unless it is there. It is compiled on one core at low priority: 10 to 30
# minutes.
set -euo pipefail

root=${1:?usage: install-garage.sh DIRECTORY}
version=2.5.0

if [ "$("$root/bin/garage" --version 2>/dev/null | grep -c "$version")" = 1 ]; then
    exit 0
fi
echo "Compiling Garage $version into $root (10 to 30 minutes)"
CARGO_TARGET_DIR="$root/target" nice -n 15 \
    cargo install garage --version "$version" --locked --root "$root" -j1
rm -rf "$root/target"
