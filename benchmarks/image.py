"""An ext4 file system with a journal in an image file, mounted through a loop device for as long as it is needed.

A root file system without a journal becomes slow after many deletes (ext4 looks for inodes that were not deleted
lately), and where the temporary directory is memory an fsync costs nothing: so the benchmarks bring their own disk.

Promises
    Whatever happens inside, nothing stays mounted.
Raises
    CannotMount with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where mkfs is, also for a root without sbin in its PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

#: Room for a million jobs with their records, each in a block of its own; the file is sparse.
SIZE, INODES = "16G", 4_000_000


class CannotMount(Exception):
    """This machine does not let us mount an image."""


def _run(*words: str) -> None:
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": _PATH},
        check=False,
    )
    if done.returncode:
        raise CannotMount(f"{words[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")


def obstacle() -> str | None:
    """Why no image can be mounted here; None if it looks as if one could."""
    if sys.platform != "linux":
        return "loop mounts need Linux"
    if os.geteuid():
        return "loop mounts need root"
    if shutil.which("mkfs.ext4", path=_PATH) is None:
        return "mkfs.ext4 is not installed"
    return None


@contextmanager
def mounted(directory: Path, size: str = SIZE, inodes: int = INODES) -> Iterator[Path]:
    """A new, empty file system, mounted in `directory`."""
    if why := obstacle():
        raise CannotMount(why)
    path, point = directory / "image.ext4", directory / "image"
    point.mkdir(exist_ok=True)
    try:
        _run("truncate", "-s", size, str(path))
        _run(
            "mkfs.ext4",
            "-q",
            "-O",
            "has_journal",
            "-N",
            str(inodes),
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0",
            str(path),
        )
        _run("mount", "-o", "loop", str(path), str(point))
        try:
            shutil.rmtree(point / "lost+found")
            yield point
        finally:
            _unmount(point)
    finally:
        path.unlink(missing_ok=True)


def _unmount(point: Path) -> None:
    try:
        _run("umount", str(point))
    except CannotMount:
        _run(
            "umount", "--lazy", str(point)
        )  # something has a file open there: it goes when that does
