"""A file system of our own in an image file: made, mounted through a loop device, and copied while it is mounted.

A copy of a mounted image is what a power cut leaves: it holds what the kernel has sent to the device, and nothing of
what it still has in memory. The copy is of one instant: `cut` takes it again if the device wrote or was writing meanwhile.
(The host's page cache lies below the device and counts as its platter. So this device never loses a write that it took;
a real one may, until it is told to flush.)

Whatever happens inside, nothing stays mounted: the loop device goes with its mount.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import until

#: Each file system: the size that its mkfs allows, how to make it, how to mount it. Nothing but our own syncs may write
#: in the few seconds of a test, so the file systems' own commits (every 5 and 30 s) are put off.
KINDS = {
    "ext4": (
        "16M",
        ["-O", "has_journal", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
        "loop,commit=300",
    ),
    # A mount namespace that began meanwhile may still hold the original, of the same UUID.
    "xfs": ("300M", [], "loop,nouuid"),
    "btrfs": ("110M", [], "loop,commit=300"),
}

#: Where mkfs is, also for a root without sbin in its PATH.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class CannotMount(Exception):
    """This machine does not let us mount an image."""


def run(*words: str | Path) -> str:
    """Run a program that must succeed; what it printed."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": PATH},
        check=False,
    )
    assert done.returncode == 0, (
        f"{words}: exit {done.returncode}: {done.stdout}{done.stderr}".strip()
    )
    return done.stdout


def obstacle(kind: str) -> str | None:
    """Why this machine cannot make and mount images of this kind; None if it looks as if it could."""
    if sys.platform != "linux":
        return "loop mounts need Linux"
    if os.geteuid() != 0:
        return "loop mounts need root"
    if shutil.which(f"mkfs.{kind}", path=PATH) is None:
        return f"mkfs.{kind} is not installed"
    if not _is_known(kind) and (shutil.which("modprobe", path=PATH) is None or not _loads(kind)):
        return f"the kernel has no {kind}"
    return None


def _is_known(kind: str) -> bool:
    return kind in Path("/proc/filesystems").read_text().split()


def _loads(kind: str) -> bool:
    subprocess.run(["modprobe", "-q", kind], env={**os.environ, "PATH": PATH}, check=False)
    return _is_known(kind)


class Image:
    """A file system of this kind in the file at `path`."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind, self.path = kind, path

    def make(self) -> None:
        """A new, empty one."""
        size, options, _ = KINDS[self.kind]
        whole = self.path.with_suffix(".whole")
        with whole.open("wb") as file:
            file.truncate(int(size[:-1]) << 20)
        run(f"mkfs.{self.kind}", "-q", *options, whole)
        run("cp", "--sparse=always", whole, self.path)  # without the zeros of its journal
        whole.unlink()

    @contextmanager
    def mounted(self, point: Path) -> Iterator[Path]:
        """Mounted at `point`, whatever happens inside only as long as that."""
        point.mkdir(exist_ok=True)
        try:
            run("mount", "-t", self.kind, "-o", KINDS[self.kind][2], self.path, point)
        except AssertionError as error:
            raise CannotMount(str(error)) from None
        try:
            yield point
        finally:
            _unmount(point)

    def mark(self, point: Path) -> tuple[str, str]:
        """What changes whenever the device of the image that is mounted at `point` writes: as long as it stands, copies are equal."""
        words = (Path("/sys/block") / Path(_device(point)).name / "stat").read_text().split()
        return words[4], words[8]  # writes done, requests under way

    def cut(self, point: Path, target: Path) -> tuple["Image", tuple[str, str]]:
        """What a power cut now leaves of the image that is mounted at `point`: a copy of it at `target`, and its mark."""
        return Image(self.kind, target), until(lambda: self._copied(point, target))

    def _copied(self, point: Path, target: Path) -> tuple[str, str] | None:
        """The mark of the copy; None if the device wrote meanwhile, so that the copy is of no one instant."""
        before = self.mark(point)
        run("cp", "--sparse=always", self.path, target)
        return before if before == self.mark(point) and before[1] == "0" else None


def _unmount(point: Path) -> None:
    try:
        run("umount", point)
    except AssertionError:
        run("umount", "--lazy", point)  # something has a file open there: it goes when that does
        raise


def _device(point: Path) -> str:
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    [device] = [words[words.index("-") + 2] for words in lines if words[4] == str(point)]
    return device
