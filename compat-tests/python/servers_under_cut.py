"""The servers that the power-cut rig starts: Sextant's two set-ups, Garage, any other by its start
command."""
import os
import shlex
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

LAYOUTS = {"standalone": 1, "cluster": 4, "garage": 1, "garage-fsync": 1}
"""How many disks each takes."""


@dataclass
class Setup:
    """How a server is started and reached."""
    commands: list
    endpoint: str
    access_key: str
    secret_key: str
    environment: dict = field(default_factory=dict)
    ready_url: str | None = None


class Server:
    """The processes of one server."""

    def __init__(self, setup, log):
        self.setup, self.log = setup, log
        self.processes = []

    def start(self):
        for command in self.setup.commands:
            process = subprocess.Popen(
                shlex.split(command), env=self.setup.environment, stdout=self.log, stderr=self.log,
                start_new_session=True)
            self.processes.append(process)

    def has_ended(self):
        """Whether any of the processes did, of itself."""
        return any(process.poll() is not None for process in self.processes)

    def kill(self):
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        self.processes = []


def setup_of(arguments, work, disks):
    """The set-up that the command line asks for."""
    if arguments.command:
        return other(arguments, disks)
    if arguments.layout.startswith("garage"):
        return garage(arguments, work, disks[0].mount_point)
    return sextant(arguments, disks)


def sextant(arguments, disks):
    binaries = Path(arguments.bin)
    environment = {
        "PATH": os.environ["PATH"], "SEXTANT_ACCESS_KEY": arguments.access_key,
        "SEXTANT_SECRET_KEY": arguments.secret_key,
        "SEXTANT_CLUSTER_SECRET": "power-cut-cluster-secret", "SEXTANT_LOG": "warn,s3s=off",
        # Collected at once, so that a wrong collection would show.
        "SEXTANT_GC_GRACE": "1",
        # For all processes alike.
        "SEXTANT_DURABILITY": arguments.durability}
    setup = Setup(
        [], "http://127.0.0.1:9750", arguments.access_key, arguments.secret_key, environment)
    listen = "--listen 127.0.0.1:9750 --admin-listen 127.0.0.1:9751"
    if arguments.layout == "standalone":
        setup.commands = [
            f"{binaries}/gateway standalone --data {disks[0].mount_point} {listen}"]
        return setup
    setup.ready_url = "http://127.0.0.1:9751/ready"
    gateway = (f"{binaries}/gateway serve --metadata rocksdb:{disks[0].mount_point} {listen} "
               "--replicas 2 --write-quorum 2")
    nodes = [f"{binaries}/chunkd --data {disk.mount_point} --listen 127.0.0.1:{9760 + number} "
             "--gateway http://127.0.0.1:9751" for number, disk in enumerate(disks[1:])]
    setup.commands = [gateway, *nodes]
    return setup


def garage(arguments, work, disk):
    synced = "true" if arguments.layout == "garage-fsync" else "false"
    settings = work / "garage.toml"
    settings.write_text(f"""\
metadata_dir = "{disk}/meta"
data_dir = "{disk}/data"
db_engine = "lmdb"
metadata_fsync = {synced}
data_fsync = {synced}
replication_factor = 1
rpc_bind_addr = "127.0.0.1:9753"
rpc_public_addr = "127.0.0.1:9753"
rpc_secret = "{"5e" * 32}"

[s3_api]
api_bind_addr = "127.0.0.1:9752"
s3_region = "us-east-1"
root_domain = ".s3.localhost"
""")
    environment = {
        "PATH": os.environ["PATH"], "RUST_LOG": "warn",
        "GARAGE_DEFAULT_ACCESS_KEY": arguments.access_key,
        "GARAGE_DEFAULT_SECRET_KEY": arguments.secret_key}
    command = (f"{arguments.garage} -c {settings} server --single-node --default-access-key")
    return Setup([command], "http://127.0.0.1:9752", arguments.access_key, arguments.secret_key,
                 environment)


def other(arguments, disks):
    places = {f"disk{number}": disk.mount_point for number, disk in enumerate(disks)}
    return Setup(
        [command.format(**places) for command in arguments.command], arguments.endpoint,
        arguments.access_key, arguments.secret_key, dict(os.environ), arguments.ready_url)
