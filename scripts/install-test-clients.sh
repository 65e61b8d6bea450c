#!/usr/bin/env bash
# Installs the clients that the tests drive and that are missing: rclone, s3cmd and FUSE from the
# distribution; the aws cli and boto3 into a Python environment of their own (first argument).
set -euo pipefail

venv=${1:?usage: install-test-clients.sh VENV-DIRECTORY}
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo

# A mirror may fail once, and another installation hold the lock.
patience=(-o Acquire::Retries=5 -o DPkg::Lock::Timeout=300)
missing=()
command -v rclone >/dev/null || missing+=(rclone)
command -v s3cmd >/dev/null || missing+=(s3cmd)
command -v fusermount3 >/dev/null || missing+=(fuse3)
command -v curl >/dev/null || missing+=(curl)
command -v python3 >/dev/null || missing+=(python3 python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    echo "Installing for the tests: ${missing[*]}"
    command -v apt-get >/dev/null || { echo "Install these by hand: ${missing[*]}" >&2; exit 1; }
    $sudo apt-get "${patience[@]}" update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get "${patience[@]}" install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! "$venv/bin/aws" --version >/dev/null 2>&1 || ! "$venv/bin/python" -c 'import boto3' 2>/dev/null; then
    echo "Installing the aws cli and boto3 into $venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --retries 10 --quiet --disable-pip-version-check 'awscli>=1.36' 'boto3>=1.36'
fi
