"""Disks that misbehave on command: full ones, syncs that fail or lie, logs that end in the middle."""

import os
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("disk_faults.c")
SMALL_DISK_BYTES = 16 << 20
DATABASE = "campanile.db"
LOG = "campanile.db-wal"


def build_library(folder):
    """Compiles the library that is preloaded into servers whose disk shall fail."""
    library = folder / "disk_faults.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library, SOURCE, "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return library


class Faults:
    """What a server that runs with `environment` meets on its disk."""

    def __init__(self, library, folder):
        self._order = folder / "disk-fault"
        self._met = folder / "disk-fault.met"
        self.environment = {"LD_PRELOAD": str(library), "DISK_FAULTS": str(self._order)}

    def order(self, fault, pattern):
        """From now on `fault` (full, fail, .., see the library) meets the files that match."""
        draft = self._order.with_suffix(".draft")
        draft.write_text(f"{fault} {pattern}\n", encoding="ascii")
        draft.rename(self._order)

    def lift(self):
        """Takes the order back; it must have been met."""
        self._order.unlink()
        assert self._met.exists(), "the fault never happened"
        self._met.unlink()


class InjectedDisk:
    """A disk without space as the server sees it: every write to its folder finds none."""

    fault = "full"

    def __init__(self, faults, folder):
        self._faults = faults
        self.folder = folder
        self.environment = faults.environment

    def fill(self, left_bytes=0):
        """Takes the space. How much was left plays no part here: the first write fails."""
        del left_bytes
        self._faults.order(self.fault, "campanile.*")

    def free(self):
        self._faults.lift()

    def close(self):
        """Nothing to give back."""


class UsedUpQuota(InjectedDisk):
    """A file system on which the server's user may write no more."""

    fault = "quota"


class SmallDisk:
    """A file system of a few MiB in memory, which can be filled to the last page."""

    environment = {}

    def __init__(self, _faults, folder):
        self.folder = folder / "disk"
        self.folder.mkdir()
        mount(self.folder)
        self._ballast = self.folder / "ballast"

    def fill(self, left_bytes=0):
        """Takes the space but for `left_bytes`."""
        state = os.statvfs(self.folder)
        size = state.f_bavail * state.f_frsize - left_bytes
        with self._ballast.open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, size)

    def free(self):
        self._ballast.unlink()

    def close(self):
        subprocess.run(["umount", self.folder], check=True, timeout=20)


def mount(folder):
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "campanile-test", folder]
    subprocess.run(command, check=True, timeout=20, capture_output=True)


def kinds_of_disk():
    """The injected disks everywhere, and a real one where this user may mount."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            mount(folder)
        except (OSError, subprocess.CalledProcessError):
            return [InjectedDisk, UsedUpQuota]
        subprocess.run(["umount", folder], check=True, timeout=20)
    return [InjectedDisk, UsedUpQuota, SmallDisk]
