#!/usr/bin/env python3
"""Cuts the power under an S3 server, again and again, and reads everything back.

Each disk is ext4 on a loop file. While clients put, overwrite and delete objects, at a random
acknowledgement every disk is shut down with FS_IOC_SHUTDOWN (no flush of the journal: what was not
synced is gone), the processes get SIGKILL, the disks are mounted anew and the server is started.
Then every key must hold a value that its history allows: the last acknowledged one, or one of the
writes that were under way. The first cut that loses anything ends the run.

Any S3 server can stand under test: --command takes its start command, with {disk0}, {disk1}… for
its disks' mount points. Needs root. The seed is printed; --seed repeats its choices.

--expect-loss turns the verdict round: with a server that promises nothing the rig must find a loss,
or its word that nothing was lost would mean nothing. --settle, which is implied there, syncs the
disks once after the first start: what a server makes then, and the bucket, are not at stake.
"""
import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from loop_disk import Disk, Power
from servers_under_cut import LAYOUTS, Server, setup_of

BUCKET = "power-cut"
ABSENT = "absent"
CLIENTS = 12
KEYS_PER_CLIENT = 40
READY_MAX_S = 60
PROGRESS_MAX_S = 120
# With so many findings, and after so long, the rest is not read any more.
FINDINGS_MAX = 50
VERIFY_MAX_S = 120


class History:
    """For each key, the values that a read may find."""

    def __init__(self):
        self.lock = threading.Lock()
        self.allowed = {}
        self.acknowledged = 0

    def begin(self, key, value):
        with self.lock:
            self.allowed.setdefault(key, {ABSENT}).add(value)

    def acknowledge(self, key, value):
        """Notes the acknowledgement and returns how many there were."""
        with self.lock:
            self.allowed[key] = {value}
            self.acknowledged += 1
            return self.acknowledged

    def observe(self, key, value):
        with self.lock:
            if value not in self.allowed[key]:
                return False
            self.allowed[key] = {value}
            return True


def body_of(rng):
    kind = rng.random()
    if kind < 0.5:
        size = rng.randrange(1, 8 << 10)
    elif kind < 0.85:
        size = rng.randrange(8 << 10, 256 << 10)
    elif kind < 0.97:
        size = rng.randrange(256 << 10, 3 << 20)
    else:
        size = rng.randrange(8 << 20, 10 << 20)
    return rng.randbytes(size)


def digest(body):
    return hashlib.md5(body).hexdigest()


class Client(threading.Thread):
    """Puts, overwrites and deletes its own keys until the power goes."""

    def __init__(self, number, s3, history, seed, power):
        super().__init__(daemon=True)
        self.number, self.s3, self.history, self.power = number, s3, history, power
        self.rng = random.Random(seed)

    def run(self):
        while not self.power.is_off.is_set():
            key = f"client-{self.number}/key-{self.rng.randrange(KEYS_PER_CLIENT)}"
            try:
                self.act(key)
            except (ClientError, BotoCoreError):
                if self.power.is_off.is_set():
                    return
                time.sleep(0.01)

    def act(self, key):
        if self.rng.random() < 0.15:
            value = ABSENT
            self.history.begin(key, value)
            self.s3.delete_object(Bucket=BUCKET, Key=key)
        else:
            body = body_of(self.rng)
            value = digest(body)
            self.history.begin(key, value)
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        # The answer came before the power went, or this is not counted: the cut sets is_off first.
        with self.power.lock:
            if self.power.is_off.is_set():
                return
            if self.history.acknowledge(key, value) == self.power.cut_at:
                self.power.cut()


def connect(setup):
    return boto3.client(
        "s3", endpoint_url=setup.endpoint, aws_access_key_id=setup.access_key,
        aws_secret_access_key=setup.secret_key, region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30,
                      max_pool_connections=CLIENTS + 4, s3={"addressing_style": "path"}))


def wait_until_ready(s3, server):
    """Returns None, or why the server is not ready."""
    deadline = time.monotonic() + READY_MAX_S
    while True:
        try:
            if server.setup.ready_url:
                urllib.request.urlopen(server.setup.ready_url, timeout=2).read()
            s3.list_buckets()
            return None
        except (ClientError, BotoCoreError, OSError) as failure:
            if server.has_ended():
                return "the server ended after its start"
            if time.monotonic() > deadline:
                return f"the server did not become ready in {READY_MAX_S} s: {failure}"
            time.sleep(0.1)


def verify(s3, history):
    """Reads every key; returns the findings that its history forbids."""
    wrong = []
    deadline = time.monotonic() + VERIFY_MAX_S
    for key in sorted(history.allowed):
        try:
            found = digest(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        except ClientError as failure:
            code = failure.response["Error"]["Code"]
            found = ABSENT if code == "NoSuchKey" else f"error {code}"
        except BotoCoreError as failure:
            found = f"error {failure}"
        if not history.observe(key, found):
            wrong.append(f"{key}: found {found}, allowed {sorted(history.allowed[key])}")
            if len(wrong) >= FINDINGS_MAX and time.monotonic() > deadline:
                wrong.append("the remaining keys were not read")
                break
    return wrong


def start_and_verify(server, disks, history):
    """Mounts, starts, reads. Returns a client and the findings."""
    for disk in disks:
        disk.mount()
    server.start()
    s3 = connect(server.setup)
    failure = wait_until_ready(s3, server)
    return s3, [failure] if failure else verify(s3, history)


def load_and_cut(s3, server, disks, history, rng):
    """Lets the clients work and cuts the power at one of their acknowledgements."""
    for disk in disks:
        disk.open()
    power = Power(disks, history.acknowledged + rng.randrange(30, 400))
    clients = [Client(n, s3, history, rng.random(), power) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    if not power.is_off.wait(PROGRESS_MAX_S):
        sys.exit(f"the clients made no progress in {PROGRESS_MAX_S} s")
    server.kill()
    for client in clients:
        client.join(60)
    for disk in disks:
        disk.close()


def prepare(arguments, s3, wrong, disks):
    """What comes before the first cut."""
    if wrong:
        sys.exit(wrong[0])
    s3.create_bucket(Bucket=BUCKET)
    if arguments.settle or arguments.expect_loss:
        for disk in disks:
            disk.sync()


def run_cuts(arguments, server, disks):
    """Cuts until something is lost or there were enough cuts. Returns the findings."""
    rng = random.Random(arguments.seed)
    history = History()
    for number in range(arguments.cuts + 1):
        s3, wrong = start_and_verify(server, disks, history)
        if number == 0:
            prepare(arguments, s3, wrong, disks)
        print(f"after {number} cuts: {history.acknowledged} acknowledged, "
              f"{len(history.allowed)} keys, {len(wrong)} wrong", flush=True)
        if number < arguments.cuts and not wrong:
            load_and_cut(s3, server, disks, history, rng)
        else:
            server.kill()
        for disk in disks:
            disk.unmount()
        if wrong:
            return wrong
    return []


def judge(arguments, wrong, work):
    """Says what came of it and ends."""
    for finding in wrong[:10]:
        print(f"  {finding}")
    if wrong and not arguments.expect_loss:
        sys.exit(f"{len(wrong)} findings; the server's log and the disks are in {work}")
    shutil.rmtree(work)
    if wrong:
        print(f"{len(wrong)} findings, as expected: the rig sees what a power cut loses")
    elif arguments.expect_loss:
        sys.exit(f"{arguments.cuts} power cuts lost nothing, but a loss was expected: either the "
                 "server syncs after all, or the rig is blind")
    else:
        print(f"{arguments.cuts} power cuts, nothing lost")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--expect-loss", action="store_true", help="fail when nothing was lost")
    parser.add_argument("--settle", action="store_true", help="sync once after the first start")
    parser.add_argument("--layout", choices=list(LAYOUTS), default="standalone")
    parser.add_argument("--bin", default="target/release", help="where gateway and chunkd are")
    parser.add_argument("--durability", default="power-safe", help="setting of gateway and chunkd")
    parser.add_argument("--garage", default="garage", help="the program for the garage layouts")
    parser.add_argument("--command", action="append", help="another server's start command")
    parser.add_argument("--disks", type=int, default=1, help="disks for --command")
    parser.add_argument("--endpoint", help="S3 endpoint of --command")
    parser.add_argument("--ready-url", help="answers 200 when the server of --command is ready")
    parser.add_argument("--access-key", default="powercut")
    parser.add_argument("--secret-key", default="the-power-cut-secret")
    parser.add_argument("--disk-mib", type=int, default=3072)
    return parser.parse_args()


def main():
    arguments = parse()
    if os.geteuid() != 0:
        print("skipped: power cuts need root, for loop mounts")
        return
    print(f"seed {arguments.seed}")
    work = Path(tempfile.mkdtemp(prefix="power-cut-"))
    count = arguments.disks if arguments.command else LAYOUTS[arguments.layout]
    disks = [Disk(work, number, arguments.disk_mib) for number in range(count)]
    with open(work / "server.log", "wb") as log:
        server = Server(setup_of(arguments, work, disks), log)
        try:
            wrong = run_cuts(arguments, server, disks)
        finally:
            server.kill()
            for disk in disks:
                disk.forget()
    judge(arguments, wrong, work)


if __name__ == "__main__":
    main()
