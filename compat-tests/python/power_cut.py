#!/usr/bin/env python3
"""Cuts the power under an S3 server, again and again, and reads everything back.

Each disk is ext4 on a loop file. While clients put, overwrite and delete objects, at a random
acknowledgement every disk is shut down with FS_IOC_SHUTDOWN (no flush of the journal: what was not
synced is gone), the processes get SIGKILL, the disks are mounted anew and the server is started.
Then every key must hold a value that its history allows: the last acknowledged one, or one of the
writes that were under way.

Any S3 server can stand under test: --command takes its start command, with {disk0}, {disk1}… for
its disks' mount points. Needs root. The seed is printed; --seed repeats its choices.
"""
import argparse
import fcntl
import hashlib
import os
import random
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
BUCKET = "power-cut"
ABSENT = "absent"
CLIENTS = 12
KEYS_PER_CLIENT = 40
READY_MAX_S = 60


class Disk:
    """An ext4 file system on a loop file that can lose its power."""

    def __init__(self, work, number, size_mib):
        self.image = work / f"disk{number}.img"
        self.mount_point = work / f"disk{number}"
        self.mount_point.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(size_mib << 20)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1", self.image)

    def mount(self):
        run("mount", "-o", "loop", self.image, self.mount_point)

    def open(self):
        self.handle = os.open(self.mount_point, os.O_RDONLY)

    def cut(self):
        fcntl.ioctl(self.handle, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))

    def close(self):
        os.close(self.handle)

    def unmount(self):
        deadline = time.monotonic() + 20
        while subprocess.run(["umount", self.mount_point], stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > deadline:
                run("umount", "-l", self.mount_point)
                return
            time.sleep(0.1)


class Server:
    """The processes of one server."""

    def __init__(self, commands, environment, log):
        self.commands, self.environment, self.log = commands, environment, log
        self.processes = []

    def start(self):
        for command in self.commands:
            process = subprocess.Popen(
                shlex.split(command), env=self.environment, stdout=self.log, stderr=self.log,
                start_new_session=True)
            self.processes.append(process)

    def kill(self):
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        self.processes = []


def run(*command):
    subprocess.run([str(word) for word in command], check=True)


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
    """Puts, overwrites and deletes its own keys until it is told to stop or the power goes."""

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


class Power:
    """Cuts every disk at one acknowledgement."""

    def __init__(self, disks, cut_at):
        self.disks, self.cut_at = disks, cut_at
        self.lock = threading.Lock()
        self.is_off = threading.Event()

    def cut(self):
        self.is_off.set()
        for disk in self.disks:
            disk.cut()


def connect(arguments):
    return boto3.client(
        "s3", endpoint_url=arguments.endpoint, aws_access_key_id=arguments.access_key,
        aws_secret_access_key=arguments.secret_key, region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30,
                      max_pool_connections=CLIENTS + 4, s3={"addressing_style": "path"}))


def wait_until_ready(s3, arguments):
    deadline = time.monotonic() + READY_MAX_S
    while True:
        try:
            if arguments.ready_url:
                urllib.request.urlopen(arguments.ready_url, timeout=2).read()
            s3.list_buckets()
            return
        except (ClientError, BotoCoreError, OSError) as failure:
            if time.monotonic() > deadline:
                sys.exit(f"the server did not become ready in {READY_MAX_S} s: {failure}")
            time.sleep(0.1)


def verify(s3, history):
    """Reads every key; returns the findings that its history forbids."""
    wrong = []
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
    listed = set()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        listed.update(entry["Key"] for entry in page.get("Contents", []))
    present = {key for key, allowed in history.allowed.items() if allowed != {ABSENT}}
    wrong.extend(f"{key}: listed wrongly" for key in listed ^ present)
    return wrong


def one_cut(arguments, server, disks, history, rng, number):
    for disk in disks:
        disk.mount()
    server.start()
    s3 = connect(arguments)
    wait_until_ready(s3, arguments)
    if number == 0:
        s3.create_bucket(Bucket=BUCKET)
    wrong = verify(s3, history)
    if number < arguments.cuts:
        for disk in disks:
            disk.open()
        power = Power(disks, history.acknowledged + rng.randrange(30, 400))
        clients = [Client(n, s3, history, rng.random(), power) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        if not power.is_off.wait(120):
            sys.exit("the clients made no progress in 120 s")
        server.kill()
        for client in clients:
            client.join(60)
        for disk in disks:
            disk.close()
    else:
        server.kill()
    for disk in disks:
        disk.unmount()
    return wrong


def sextant(arguments, disks):
    """The start commands of one of Sextant's own layouts, and its environment."""
    binaries = Path(arguments.bin)
    environment = {
        "PATH": os.environ["PATH"], "SEXTANT_ACCESS_KEY": arguments.access_key,
        "SEXTANT_SECRET_KEY": arguments.secret_key,
        "SEXTANT_CLUSTER_SECRET": "power-cut-cluster-secret", "SEXTANT_LOG": "warn,s3s=off",
        # Collected at once, so that a wrong collection would show.
        "SEXTANT_GC_GRACE": "1"}
    arguments.endpoint = "http://127.0.0.1:9750"
    listen = "--listen 127.0.0.1:9750 --admin-listen 127.0.0.1:9751"
    if arguments.layout == "standalone":
        return [f"{binaries}/gateway standalone --data {disks[0].mount_point} {listen}"], environment
    arguments.ready_url = "http://127.0.0.1:9751/ready"
    gateway = (f"{binaries}/gateway serve --metadata rocksdb:{disks[0].mount_point} {listen} "
               "--replicas 2 --write-quorum 2")
    nodes = [f"{binaries}/chunkd --data {disk.mount_point} --listen 127.0.0.1:{9760 + number} "
             "--gateway http://127.0.0.1:9751" for number, disk in enumerate(disks[1:])]
    return [gateway, *nodes], environment


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--layout", choices=["standalone", "cluster"], default="standalone")
    parser.add_argument("--bin", default="target/release", help="where gateway and chunkd are")
    parser.add_argument("--command", action="append", help="another server's start command")
    parser.add_argument("--disks", type=int, default=1, help="disks for --command")
    parser.add_argument("--endpoint", help="S3 endpoint of --command")
    parser.add_argument("--ready-url", help="answers 200 when the server is ready")
    parser.add_argument("--access-key", default="powercut")
    parser.add_argument("--secret-key", default="powercutsecret")
    parser.add_argument("--disk-mib", type=int, default=3072)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: power cuts need root, for loop mounts")
        return
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    work = Path(tempfile.mkdtemp(prefix="power-cut-"))
    count = arguments.disks if arguments.command else {"standalone": 1, "cluster": 4}[arguments.layout]
    disks = [Disk(work, number, arguments.disk_mib) for number in range(count)]
    if arguments.command:
        places = {f"disk{number}": disk.mount_point for number, disk in enumerate(disks)}
        commands = [command.format(**places) for command in arguments.command]
        environment = dict(os.environ)
    else:
        commands, environment = sextant(arguments, disks)
    history = History()
    lost = 0
    with open(work / "server.log", "wb") as log:
        server = Server(commands, environment, log)
        try:
            for number in range(arguments.cuts + 1):
                wrong = one_cut(arguments, server, disks, history, rng, number)
                lost += len(wrong)
                print(f"after {number} cuts: {history.acknowledged} acknowledged, "
                      f"{len(history.allowed)} keys, {len(wrong)} wrong", flush=True)
                for finding in wrong[:10]:
                    print(f"  {finding}")
        finally:
            server.kill()
            for disk in disks:
                subprocess.run(["umount", "-l", disk.mount_point], stderr=subprocess.DEVNULL)
    if lost:
        sys.exit(f"{lost} findings; the server's log and the disks are in {work}")
    subprocess.run(["rm", "-rf", work])
    print(f"{arguments.cuts} power cuts, nothing lost")


if __name__ == "__main__":
    main()
