"""What the system's C library can do and os cannot: syncfs, renameat2 and prctl, on Linux.

Promises
    A call answers or raises OSError with the error's own code; ENOSYS where there is no such call.
Leaves to others
    what to do elsewhere (disk, renewal).
Raises
    OSError.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

#: Flags of renameat2(2).
NOREPLACE, EXCHANGE = 1, 2

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER

_HERE = -100  # AT_FDCWD: relative paths begin where we stand


def syncfs(fd: int) -> None:
    """Make everything that was written to the file system of `fd` survive a power cut."""
    _call("syncfs", fd)


def renameat2(source: str, target: str, flags: int) -> None:
    """Rename with a condition: NOREPLACE, only if there is no target; EXCHANGE, each takes the other's name at once."""
    _call("renameat2", _HERE, os.fsencode(source), _HERE, os.fsencode(target), flags, path=source)


def load() -> None:
    """Import what calls need, before processes are forked that will make some."""
    import ctypes  # noqa: F401


def adopt_orphans() -> None:
    """Become the parent of each descendant whose own parent ends."""
    _call("prctl", _SUBREAPER, 1, 0, 0, 0)


def _call(name: str, *args: Any, path: str | None = None) -> None:
    import ctypes

    function = (
        getattr(ctypes.CDLL(None, use_errno=True), name, None) if sys.platform == "linux" else None
    )
    if function is None or function(*args):
        code = ctypes.get_errno() if function else errno.ENOSYS
        raise OSError(code, os.strerror(code), path)
