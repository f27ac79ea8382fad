"""The log file of a background supervisor, which several processes append to by one descriptor each.

When it has grown beyond the setting log_size the supervisor moves it away: x.log becomes x.log.1, that becomes
x.log.2, and so on; the oldest goes. Whoever writes looks once a second whether the file at the path is still the
one that it has open, and opens the new one if not. So logrotate, or mv, may move it away as well.

Promises
    No line is lost by that: what is written before a process has looked goes into the file that was moved away.
Leaves to others
    lines (log), how large (config), when to ask (chores).
Raises
    nothing from follow and rotate: a log that cannot be opened anew goes on where it is.
"""

from __future__ import annotations

import math
import os
import time

from queuectl import disk

#: Seconds between two looks at whether the file was moved away, or is large.
LOOK = 1.0

#: Files that are kept beside the one that is written to.
KEPT = 5

#: What the file is: stdout and stderr of the process.
DESCRIPTORS = (1, 2)


class LogFile:
    """The log file at `path`; from now on it is stdout and stderr of this process and of those that it forks."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._looked = self._measured = -math.inf
        self._open()

    def _open(self) -> None:
        fd = disk.open_log(self._path)
        for target in DESCRIPTORS:
            os.dup2(fd, target)
        os.close(fd)

    def follow(self) -> None:
        """See to it that the next line goes into the file that is at the path now."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        try:
            if not disk.is_open_at(DESCRIPTORS[-1], self._path):
                self._open()
        except OSError:
            pass  # no room, or no directory: the old file will do until the next look

    def rotate(self, most: int) -> None:
        """Move the file away if it has `most` bytes or more; 0 is no limit. Only supervisors do that."""
        now = time.monotonic()
        if not most or now - self._measured < LOOK:
            return
        self._measured = now
        try:
            # RACE: the supervisor of another spool may do the same; then the second file is begun too early, and no line is lost.
            if disk.size(self._path) >= most and disk.is_open_at(DESCRIPTORS[-1], self._path):
                self._move_away()
                self._open()
        except OSError:
            pass  # as above

    def _move_away(self) -> None:
        # CRASH: dying amid this leaves a gap in the numbers, and perhaps no file at the path until the next start.
        for number in range(KEPT - 1, 0, -1):
            if disk.size(f"{self._path}.{number}"):
                disk.rename(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        disk.rename(self._path, f"{self._path}.1")
