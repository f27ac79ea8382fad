"""Outcomes reach the disk in groups: a short-lived child syncs, and nobody waits for it.

An fsync for each outcome would stall the renames of every other worker. So what
happened is made durable twice a second, by one sync of the file system; the child is
forked for it, and if the disk hangs, only the child does.

Promises
    What is noted is on disk a second later, if the disk keeps up.
    At most one child at a time.
Leaves to others
    durability strict (worker): that waits for each outcome.
Raises
    OSError from fork.
"""

from __future__ import annotations

import os
import time
from importlib import import_module

from queuectl import disk

#: Seconds between two groups.
INTERVAL = 0.5


class Flusher:
    """Makes the file system of `path` durable when something was noted."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._noted = False
        self._last = 0.0
        self.pid = 0
        import_module("ctypes")  # once here, not in every child

    def note(self) -> None:
        """Something happened that must survive a power cut."""
        self._noted = True

    def hurry(self) -> None:
        """Begin with what is noted, and do not wait for more."""
        self._last = 0.0

    def ended(self) -> None:
        """The child was collected."""
        self.pid = 0

    def wakes_at(self) -> float | None:
        """When `flush` has something to do, by the monotonic clock; None: not before the next note or the child's end."""
        return self._last + INTERVAL if self._noted and not self.pid else None

    def flush(self) -> None:
        """Start a child for what was noted, if it is time."""
        at = self.wakes_at()
        if at is not None and time.monotonic() >= at:
            self._start()

    def finish(self) -> None:
        """Make everything durable and wait for it."""
        if self.pid:
            os.waitpid(self.pid, 0)
        if self._noted:
            self._start()
            os.waitpid(self.pid, 0)
        self.pid = 0

    def _start(self) -> None:
        self._noted, self._last = False, time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            code = 1
            try:
                disk.sync_all(self._path)
                code = 0
            finally:
                os._exit(code)
