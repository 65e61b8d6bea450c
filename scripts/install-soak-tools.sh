#!/usr/bin/env bash
# Installs libfaketime, by which the soak test makes clocks jump, on Debian or Ubuntu. Where it cannot, the
# soak test goes on without, and says so at its end.
set -euo pipefail

for dir in /usr/lib/*/faketime /usr/lib64/faketime /usr/lib/faketime; do
    [ -e "$dir/libfaketimeMT.so.1" ] && exit 0
done

echo "Installing for the soak test: libfaketime"
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo -n"
if ! command -v apt-get >/dev/null \
    || ! $sudo apt-get update -qq \
    || ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libfaketime >/dev/null; then
    echo "libfaketime could not be installed: no clock will jump" >&2
fi
