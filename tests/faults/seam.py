"""The seam: a stand-in for `os` and `libc` inside `queuectl.disk` that dies or lies at the k-th call that changes the disk.

Every function of theirs that the disk uses counts, but for those that only look; so a new disk call is covered by
every test here without a change.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from queuectl import disk, libc
from queuectl.errors import QueuectlError

#: What changes nothing. Everything else counts, also what will be added one day.
LOOKS = {
    "close",
    "read",
    "pread",
    "fstat",
    "stat",
    "lstat",
    "statvfs",
    "scandir",
    "readlink",
    "fspath",
    "fsdecode",
    "fsencode",
    "strerror",
    "getpid",
}

#: How a child ends that was killed by the seam.
KILLED = 86


class Seam:
    """Stands in for os and for libc; `at` answers what happens at call number k: None, or a function of the real call."""

    def __init__(self, at: Callable[[int], Callable[[Callable[[], Any]], Any] | None]) -> None:
        self.at, self.count, self.calls = at, 0, []

    def __getattr__(self, name: str) -> Any:
        real = getattr(os if hasattr(os, name) else libc, name)
        if not callable(real) or isinstance(real, type) or name in LOOKS:
            return real

        def call(*args: Any, **options: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return real(*args, **options)
            self.count += 1
            self.calls.append(name)
            act = self.at(self.count)
            if act in (die_within, write_less) and name == "write":
                args = (args[0], args[1][: len(args[1]) // 2])
            return act(lambda: real(*args, **options)) if act else real(*args, **options)

        return call


def die_before(_: Callable[[], Any]) -> Any:
    os._exit(KILLED)


def die_after(real: Callable[[], Any]) -> Any:
    real()
    os._exit(KILLED)


def die_within(real: Callable[[], Any]) -> Any:
    """Half of what was to be written is, as a full disk or a power cut leaves it."""
    die_after(real)


def write_less(real: Callable[[], Any]) -> Any:
    """Half of what was to be written is, and the call says so."""
    return real()


def fail(code: int) -> Callable[[Callable[[], Any]], Any]:
    """The call does nothing and says that it failed."""

    def act(_: Callable[[], Any]) -> Any:
        raise OSError(code, os.strerror(code))

    return act


def lie(code: int) -> Callable[[Callable[[], Any]], Any]:
    """The call works and says that it failed: a network lost the answer."""

    def act(real: Callable[[], Any]) -> Any:
        real()
        raise OSError(code, os.strerror(code))

    return act


def interrupt_before(_: Callable[[], Any]) -> Any:
    """Ctrl+C while the call waits, for a full disk for example."""
    raise KeyboardInterrupt


def interrupt_after(real: Callable[[], Any]) -> Any:
    real()
    raise KeyboardInterrupt


#: What ends a Python program that then clears up behind itself.
INTERRUPTS = (interrupt_before, interrupt_after)

#: What can be asked for by itself.
ACTS = (die_before, die_within, die_after, write_less, *INTERRUPTS)

#: Errors of a call that did nothing.
FAILURES = [
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EMFILE,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
]

#: Errors of a call that worked.
LIES = [errno.ENOENT, errno.EEXIST, errno.EIO, errno.ESTALE, errno.ETIMEDOUT]


def live(life: Callable[[], None], at: Callable[[int], Any], note: Path) -> tuple[int, int]:
    """Live `life` in a child whose disk is the seam: (its exit code, the calls it made or 0 if it died).

    Exit code 0: it came to its end. KILLED: the seam killed it. 1: it ended with an error that our programs would report.
    """
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        count = int(note.read_text()) if status != KILLED else 0
        if status == 3:
            raise AssertionError(note.with_suffix(".traceback").read_text())
        return status, count
    code = 3
    seam = Seam(at)
    disk.os = disk.libc = seam
    try:
        life()
        code = 0
    except (OSError, QueuectlError):
        code = 1
    except BaseException:
        note.with_suffix(".traceback").write_text(traceback.format_exc())
    finally:
        note.write_text(str(seam.count))
        sys.stdout.flush()
        os._exit(code)
