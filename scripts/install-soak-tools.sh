#!/usr/bin/env bash
# Installs what the soak test makes clocks jump (libfaketime) and disks slow (strace) with, on Debian or Ubuntu.
# Where it cannot, the soak test goes on without, and says so at its end.
set -euo pipefail

# A mirror may fail once, and another installation hold the lock.
patience=(-o Acquire::Retries=5 -o DPkg::Lock::Timeout=300)
missing=()
compgen -G '/usr/lib*/*/faketime/libfaketimeMT.so.1' >/dev/null \
    || compgen -G '/usr/lib*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(libfaketime)
command -v strace >/dev/null || missing+=(strace)
[ "${#missing[@]}" -eq 0 ] && exit 0

echo "Installing for the soak test: ${missing[*]}"
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo -n"
if ! command -v apt-get >/dev/null \
    || ! $sudo apt-get "${patience[@]}" update -qq \
    || ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get "${patience[@]}" install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
    echo "not installed: ${missing[*]}; the faults that need it do not come" >&2
fi
