#!/usr/bin/env python3
"""Runs a selection of ceph/s3-tests against a fresh standalone server and compares the result with the
lists beside this file.

core      what AWS and RGW both pass, by the suite's own markers
stretch   what RGW passes and AWS does not (`--stretch`)

expected-passes-SELECTION.txt   one test per line; a missing pass fails the run
known-failures-SELECTION.txt    `test: reason`, one per line; a test in neither list, or one that
                                passes unexpectedly, fails the run too, so that both stay exact

Both hold over http and over https. Nothing of the suite is copied here: name a checkout of it.
`--update` rewrites the list of passes, and takes what passes out of the list of failures.
"""

import argparse
import configparser
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
FILES = ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"]
LEFT_OUT = ["fails_on_rgw", "iam_account", "iam_user", "cloud_transition", "cloud_restore",
            "bucket_logging", "bucket_logging_cleanup", "sns"]
MARKERS = {"core": ["not fails_on_aws"], "stretch": ["fails_on_aws"]}
READY_WITHIN_S = 120
# Tests that watch lifecycle rules at work; others need days of 24 hours.
SHORT_DAYS = {"core": "test_delete_marker_expiration or "
                      "test_lifecycle_plain_null_version_current_transition",
              "stretch": "test_lifecycle"}
DAY_SECONDS = 10
# Wants its user to have no other bucket.
LONELY = "test_list_buckets_paginated"
# Wants a region that has a name; us-east-1 has none, as on AWS.
REGIONAL, REGION = "test_bucket_get_location", "eu-west-1"
TEST_MAX_S = 300

# The account of the suite's tenant.
TENANT = "testx"
USERS = {
    "s3 main": ("testid", "M. Tester", "tester@example.com"),
    "s3 alt": ("56789abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234", "john.doe",
               "john.doe@example.com"),
    "s3 tenant": ("9876543210abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                  "tenanteduser", "tenanteduser@example.com"),
    "iam": ("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "youruseridhere",
            "s3@example.com"),
    "iam root": ("RGW11111111111111111", "account1", "account1@example.com"),
    "iam alt root": ("RGW22222222222222222", "account2", "account2@example.com"),
}


def keys(section):
    """Access key and secret key of a section's user."""
    word = re.sub("[^A-Z]", "", section.upper())
    return f"AK{word}0000", f"secret-of-{word.lower()}-0123456789"


def write_users(path):
    lines = []
    for section, (user_id, name, email) in USERS.items():
        access, secret = keys(section)
        account = f"{TENANT}$" if section == "s3 tenant" else ""
        fields = {"id": account + user_id, "display_name": name, "email": email, "access_key": access,
                  "secret_key": secret}
        lines.append("[[user]]")
        lines.extend(f'{field} = "{value}"' for field, value in fields.items())
    path.write_text("\n".join(lines) + "\n")


def write_kms_keys(path):
    """The two keys that the suite names unless it is told otherwise."""
    path.touch(mode=0o600)
    entries = [f'[[key]]\nid = "testkey-{n}"\nsecret = "{str(n) * 64}"\n' for n in (1, 2)]
    path.write_text("".join(entries))


def write_certificate(scratch):
    """A certificate for localhost that signs itself."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", scratch / "key.pem", "-out", scratch / "cert.pem"],
                   check=True, capture_output=True)
    return ["--tls-cert", scratch / "cert.pem", "--tls-key", scratch / "key.pem"]


def write_configuration(path, port, https):
    config = configparser.RawConfigParser()
    config["DEFAULT"] = {"host": "localhost", "port": port, "is_secure": str(https),
                         "ssl_verify": "False"}
    config["fixtures"] = {"bucket prefix": "compat-{random}-"}
    for section, (user_id, name, email) in USERS.items():
        access, secret = keys(section)
        config[section] = {"user_id": user_id, "display_name": name, "email": email,
                           "access_key": access, "secret_key": secret}
    config["s3 main"]["api_name"] = REGION
    config["s3 main"]["lc_debug_interval"] = str(DAY_SECONDS)
    config["s3 main"]["storage_classes"] = "STANDARD_IA, ONEZONE_IA"
    config["s3 tenant"]["tenant"] = TENANT
    with path.open("w") as file:
        config.write(file)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_server(gateway, scratch, settings):
    """A standalone server with the suite's users; returns its process and its port."""
    port, admin = free_port(), free_port()
    write_users(scratch / "users.toml")
    write_kms_keys(scratch / "kms-keys.toml")
    command = [gateway, "standalone", "--data", scratch / "data", "--listen", f"127.0.0.1:{port}",
               "--admin-listen", f"127.0.0.1:{admin}", "--users-file", scratch / "users.toml",
               "--sigv2-headers", "--sse-c-over-http", "--kms-keys-file",
               scratch / "kms-keys.toml", *settings]
    log = (scratch / "server.log").open("w")
    server = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=1)
            return server, port
        except OSError:
            time.sleep(0.1)
    server.kill()
    sys.exit("the server did not become ready:\n" + (scratch / "server.log").read_text())


def run_suite(arguments, scratch, port, names):
    """Runs what of the selection has these names; returns the outcome of each test."""
    write_configuration(scratch / "s3tests.conf", port, arguments.https)
    report = scratch / "report.xml"
    markers = MARKERS[arguments.selection] + [f"not {marker}" for marker in LEFT_OUT]
    command = [arguments.python, "-m", "pytest", *FILES, "-m", " and ".join(markers), "-q", "-n",
               str(arguments.jobs), "--timeout", str(TEST_MAX_S), f"--junitxml={report}",
               "-p", "no:cacheprovider", "--tb=short"]
    if names:
        command += ["-k", names]
    environment = dict(os.environ, S3TEST_CONF=str(scratch / "s3tests.conf"),
                       PYTHONDONTWRITEBYTECODE="1")
    if arguments.https:
        trusted = str(scratch / "cert.pem")
        environment.update(SSL_CERT_FILE=trusted, REQUESTS_CA_BUNDLE=trusted)
    with (scratch / "suite.log").open("w") as log:
        subprocess.run(command, cwd=arguments.checkout, env=environment, stdout=log, stderr=log)
    return outcomes(report)


def runs(selection, only):
    """Name, server settings and tests of each run."""
    short_days = ["--lifecycle-day-seconds", str(DAY_SECONDS)]
    if only:
        return [("only", short_days if selection == "stretch" else [], only)]
    short = SHORT_DAYS[selection]
    if selection == "stretch":
        return [("most", [], f"not ({short})"), ("short-days", short_days, short)]
    return [("most", [], f"not ({short} or {LONELY} or {REGIONAL})"),
            ("short-days", short_days, short),
            ("lonely", [], LONELY),
            ("regional", ["--region", REGION], REGIONAL)]


def run(arguments, scratch, settings, names):
    """One run against a fresh server."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    if arguments.https:
        settings = [*settings, *write_certificate(scratch)]
    server, port = start_server(arguments.gateway, scratch, settings)
    try:
        return run_suite(arguments, scratch, port, names)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)


def outcomes(report):
    """Each test's outcome: `passed`, or the first line of what went wrong."""
    results = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        name = case.get("name")
        wrong = [child for child in case if child.tag in ("failure", "error", "skipped")]
        if wrong:
            results[name] = " ".join((wrong[0].get("message") or wrong[0].tag).split())[:160]
        else:
            results.setdefault(name, "passed")
    return results


def read_list(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def lists(selection):
    """The files that say what passes and what does not."""
    return HERE / f"expected-passes-{selection}.txt", HERE / f"known-failures-{selection}.txt"


def compare(results, selection):
    """Whether the results are exactly as the lists say; prints what is not."""
    passing, failing = lists(selection)
    passes = set(read_list(passing))
    failures = {line.split(":", 1)[0] for line in read_list(failing)}
    wrong = []
    for name, outcome in sorted(results.items()):
        if outcome == "passed" and name not in passes:
            wrong.append(f"passes and is not in {passing.name}: {name}")
        elif outcome != "passed" and name in passes:
            wrong.append(f"LOST: {name}: {outcome}")
        elif outcome != "passed" and name not in failures:
            wrong.append(f"fails and is not in {failing.name}: {name}: {outcome}")
    wrong.extend(f"LOST: {name}: did not run" for name in sorted(passes - set(results)))
    print("\n".join(wrong))
    return not wrong


def update(passed, selection):
    """Makes the lists say that these pass."""
    passing, failing = lists(selection)
    passing.write_text("\n".join(passed) + "\n")
    still = [line for line in read_list(failing) if line.split(":", 1)[0] not in passed]
    failing.write_text("".join(f"{line}\n" for line in still))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", required=True, help="a checkout of ceph/s3-tests")
    parser.add_argument("--gateway", required=True, help="the gateway program")
    parser.add_argument("--python", default=sys.executable,
                        help="a Python with the suite's requirements, pytest-xdist, pytest-timeout")
    parser.add_argument("--jobs", default=4, type=int)
    parser.add_argument("--https", action="store_true", help="run over TLS")
    parser.add_argument("--stretch", dest="selection", action="store_const", const="stretch",
                        default="core", help="run what AWS fails and RGW passes")
    parser.add_argument("--only", help="tests to run, as pytest's -k; nothing is compared")
    parser.add_argument("--update", action="store_true", help="rewrite the list of passes")
    parser.add_argument("--keep", help="a directory for the logs, which is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = pathlib.Path(arguments.keep or temporary)
        results = {}
        for name, settings, names in runs(arguments.selection, arguments.only):
            results.update(run(arguments, scratch / name, settings, names))
    passed = sorted(name for name, outcome in results.items() if outcome == "passed")
    print(f"{len(passed)} of {len(results)} passed")
    if arguments.only:
        for name, outcome in sorted(results.items()):
            if outcome != "passed":
                print(f"{name}: {outcome}")
        sys.exit(len(passed) != len(results))
    if arguments.update:
        update(passed, arguments.selection)
    sys.exit(not compare(results, arguments.selection))


if __name__ == "__main__":
    main()
