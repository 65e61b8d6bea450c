"""Disks that can lose their power: ext4 on loop files, shut down by FS_IOC_SHUTDOWN. Needs root."""
import fcntl
import os
import struct
import subprocess
import threading
import time

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
UNMOUNT_MAX_S = 20


def run(*command):
    subprocess.run([str(word) for word in command], check=True)


class Disk:
    """One file system. After a cut it holds what was synced, once it is mounted anew."""

    def __init__(self, work, number, size_mib):
        self.image = work / f"disk{number}.img"
        self.mount_point = work / f"disk{number}"
        self.mount_point.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(size_mib << 20)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1", self.image)

    def mount(self):
        run("mount", "-o", "loop", self.image, self.mount_point)

    def sync(self):
        run("sync", "-f", self.mount_point)

    def open(self):
        """Gets ready to be cut, which must take no time then."""
        self.handle = os.open(self.mount_point, os.O_RDONLY)

    def cut(self):
        fcntl.ioctl(self.handle, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))

    def close(self):
        os.close(self.handle)

    def unmount(self):
        deadline = time.monotonic() + UNMOUNT_MAX_S
        while subprocess.run(["umount", self.mount_point], stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > deadline:
                self.forget()
                return
            time.sleep(0.1)

    def forget(self):
        """Takes it out of sight, even while something holds on to it."""
        subprocess.run(["umount", "-l", self.mount_point], stderr=subprocess.DEVNULL)


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
