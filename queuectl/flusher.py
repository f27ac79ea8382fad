"""Outcomes reach the disk in groups: a short-lived child syncs, and nobody waits for it.

An fsync for each outcome would stall the renames of every other worker. So what
happened is made durable twice a second, by one sync of the file system; the child is
forked for it, and if the disk hangs, only the child does.

Promises
    What is noted is on disk a second later, if the disk keeps up. A sync that failed is tried again, and is warned of.
    At most one child at a time.
Leaves to others
    durability strict (worker): that waits for each outcome.
Raises
    OSError from fork; it is tried again, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib import import_module

from queuectl import disk

#: Seconds for which outcomes gather until they are synced together.
INTERVAL = 0.5

#: Seconds until a sync that failed is tried again.
PATIENCE = 2.0


class Flusher:
    """Makes the file system of `path` durable when something was noted; `warn` hears when it could not."""

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self._due: float | None = None
        self.pid = 0
        import_module("ctypes")  # once here, not in every child

    def note(self) -> None:
        """Something happened that must survive a power cut."""
        if self._due is None:
            self._due = time.monotonic() + INTERVAL

    def hurry(self) -> None:
        """Begin with what is noted, and do not wait for more."""
        if self._due is not None:
            self._due = 0.0

    def ended(self, status: int) -> None:
        """The child was collected, with this status."""
        self.pid = 0
        if status:
            self._warn(
                f"cannot sync {self._path}: the disk may lose what happened last if the power fails now"
            )
            self._due = time.monotonic() + PATIENCE

    def wakes_at(self) -> float | None:
        """When `flush` has something to do, by the monotonic clock; None: not before the next note or the child's end."""
        return None if self.pid else self._due

    def flush(self) -> None:
        """Start a child for what was noted, if it is time."""
        at = self.wakes_at()
        if at is not None and time.monotonic() >= at:
            self._start()

    def finish(self) -> None:
        """Make everything durable and wait for it."""
        if self.pid:
            self.ended(os.waitpid(self.pid, 0)[1])
        if self._due is not None:
            try:
                self._start()
            except OSError:  # no room for a process
                disk.sync_all(self._path)
            else:
                self.ended(os.waitpid(self.pid, 0)[1])
        self._due = None

    def _start(self) -> None:
        self._due = time.monotonic() + PATIENCE  # should the fork fail
        self.pid = os.fork()
        if self.pid:
            self._due = None
        else:
            code = 1
            try:
                disk.sync_all(self._path)
                code = 0
            finally:
                os._exit(code)
