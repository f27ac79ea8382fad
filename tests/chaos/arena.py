"""The arena: a directory of its own for one chaos run, with a small disk for the spool where we may mount one.

Promises
    Where `why_not` is empty, `fill` leaves no room on the spool's disk and `free` gives it back;
    the ledger and the logs of the supervisors are on another disk.
    At the end the disk is unmounted, and everything is removed unless `keep` was called.
Leaves to others
    ending the processes that use the disk (fleet), before the arena closes.
Raises
    OSError from the disk that the arena is on.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol, Self

from tests.support import until

#: Bytes that are too few to fill: less than a block of any file system.
CRUMB = 1024

#: Seconds for the last process to let go of the disk.
PATIENCE = 10


class Ground(Protocol):
    """What jobs and their producer need to know of a place: the spool, a directory of their own, and where runs leave a line."""

    spool: Path
    home: Path
    ledger: Path
    overlaps: Path
    locks: Path


class Arena:
    """`megabytes` is the size of the spool's disk; 0: no disk of its own."""

    def __init__(self, megabytes: int) -> None:
        self.megabytes = megabytes
        self.kept = False

    def __enter__(self) -> Self:
        self.home = Path(tempfile.mkdtemp(prefix="queuectl-chaos-"))
        self.disk, self.ballast = self.home / "disk", self.home / "disk" / "ballast"
        self.ledger, self.overlaps = self.home / "ledger", self.home / "overlaps"
        self.logs, self.locks = self.home / "logs", self.home / "locks"
        for directory in (self.disk, self.logs, self.locks):
            directory.mkdir()
        self.ledger.touch()
        self.overlaps.touch()
        self.why_not = self._mounted()
        self.spool = self.disk / "spool"
        return self

    def __exit__(self, *_: object) -> None:
        if not self.why_not:
            if self.kept:
                self.free()
                shutil.copytree(self.spool, self.home / "spool-as-it-was", symlinks=True)
            self._unmount()
            (self.home / "disk.img").unlink()
        if not self.kept:
            shutil.rmtree(self.home)

    def keep(self) -> Path:
        """Leave everything for a person to look at: where that is."""
        self.kept = True
        return self.home

    # -- the disk

    def _mounted(self) -> str:
        """Mount the spool's disk; or why there is none."""
        if not self.megabytes:
            return "not asked for"
        if sys.platform != "linux" or os.geteuid():
            return "needs root on Linux"
        image = self.home / "disk.img"
        with image.open("wb") as file:
            file.truncate(self.megabytes << 20)
        made = _done("mkfs.ext4", "-q", "-F", "-m", "0", "-i", "4096", image)
        if made and _done("mount", "-o", "loop", image, self.disk):
            return ""
        if _done(
            "mount", "-t", "tmpfs", "-o", f"size={self.megabytes}m,mode=700", "tmpfs", self.disk
        ):
            return ""
        return "neither a loop device nor a tmpfs can be mounted here"

    def _unmount(self) -> None:
        try:
            until(lambda: _done("umount", self.disk), PATIENCE)
        except AssertionError:
            _done("umount", "-l", self.disk)
            raise

    def fill(self) -> None:
        """Take all room that is left on the spool's disk; call it again while it should stay full."""
        status = os.statvfs(self.disk)
        amount = status.f_bavail * status.f_frsize
        with self.ballast.open("ab") as file:
            size = os.fstat(file.fileno()).st_size
            while amount >= CRUMB:
                try:
                    os.posix_fallocate(file.fileno(), size, amount)
                    size += amount
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    amount //= 2

    def free(self) -> None:
        """Give the room back."""
        self.ballast.unlink(missing_ok=True)


def _done(*words: str | Path) -> bool:
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
