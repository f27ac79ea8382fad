"""The porter: sees to it that hooks are run for the notes that wait, by children of the supervisor.

Promises
    A note is seen soon after jobs have ended here, and at a heartbeat wherever they have.
    At most AT_ONCE hooks at a time; neither they nor a hook that hangs hold up a job.
    What a child left that died, here or with its supervisor, is taken up again.
    A hook that must not run is named once.
Leaves to others
    the notes (hooks), running a hook (calls), the loop (supervisor).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable

from queuectl import disk, errand, hooks, liveness, processes
from queuectl.calls import VARIABLE, Calls
from queuectl.log import Log
from queuectl.spool import Spool

#: The most children, and so hooks, at a time.
AT_ONCE = 2

#: Seconds between two looks for notes.
LOOK = 0.25

#: Seconds until another try with notes that could not be dealt with, at first and at most.
PAUSE, LONGEST_PAUSE = 0.5, 10.0


class Porter:
    """The porter of the supervisor `name`."""

    def __init__(self, spool: Spool, name: str, log: Log, warn: Callable[[str], None]) -> None:
        self._spool, self._name, self._log, self._warn = spool, name, log, warn
        self._pids: set[int] = set()
        self._is_used = self._missed = False
        self._looked = self._retry = -math.inf
        self._known: set[str] = set()
        self._pause = PAUSE
        self._told: dict[str, str] = {}

    def refresh(self, observer: liveness.Observer) -> None:
        """At a heartbeat: see whether there are hooks, name those that must not run, take up what the dead left."""
        self._is_used = disk.is_there(self._spool.at("hooks"))
        if not self._is_used:
            return
        self._missed = True
        told, self._told = (
            self._told,
            {name: why for name, why in hooks.status(self._spool).items() if why},
        )
        for name, why in self._told.items():
            if told.get(name) != why:
                self._warn(f"hook {name} is not run: {why}; 'queuectl doctor' says more")
        recover(self._spool, observer, spare=self._name)

    # -- when

    def tend(self) -> None:
        """Start a child for notes that wait, if it is time to look."""
        if not self._is_used:
            return
        now = time.monotonic()
        self._missed = now < self._looked + LOOK
        if not self._missed:
            self._looked = now
            self._look(now)

    def _look(self, now: float) -> None:
        names = set(hooks.due(self._spool))
        fresh = names - self._known
        self._known &= names
        if not names or fresh:
            self._pause = PAUSE
        if names and (fresh or now >= self._retry) and len(self._pids) < AT_ONCE:
            self._known = names
            self._retry = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._pids.add(
                errand.start(lambda: Calls(self._spool, self._name, self._log).run(), self._warn)
            )

    def wakes_at(self) -> float:
        """When `tend` has something to do, by the monotonic clock."""
        if not self._is_used or len(self._pids) >= AT_ONCE:
            return math.inf
        return min(
            self._looked + LOOK if self._missed else math.inf,
            self._retry if self._known else math.inf,
        )

    def is_busy(self) -> bool:
        """Whether hooks run, or notes wait that nobody has looked at."""
        return bool(self._pids) or (
            self._is_used and bool(set(hooks.due(self._spool)) - self._known)
        )

    # -- children

    def ended(self, pid: int) -> bool:
        """Take note that a child has ended: whether it was one of these."""
        if pid not in self._pids:
            return False
        self._pids.remove(pid)
        self._missed = True
        _give_back(self._spool, f"{self._name}~{pid}")
        return True

    def finish(self) -> None:
        """End the hooks that still run; others will run them again."""
        for pid in self._pids:
            os.kill(pid, signal.SIGTERM)
        for pid in list(self._pids):
            os.waitpid(pid, 0)
            self.ended(pid)


def recover(spool: Spool, observer: liveness.Observer, *, spare: str = "") -> None:
    """Put back the notes of children that died with their supervisors, but for those of `spare`."""
    for child in spool.directories("hooks/running"):
        supervisor = child.partition("~")[0]
        if supervisor != spare and not liveness.is_supervising(spool, observer, supervisor):
            _give_back(spool, child)


def _give_back(spool: Spool, child: str) -> None:
    """Put back the notes that a dead child had, or one that lives without its supervisor; a hook that it left running is ended."""
    directory = spool.at("hooks", "running", child)
    notes = list(disk.scan(directory))
    for note in notes:
        # RACE: two who find the same child dead put each note to the same place. A child that lives would take the end of its
        # hook for the end of its note: so that comes last.
        disk.rename(f"{directory}/{note}", spool.at("hooks", "due", note))
    if notes:
        run = {f"{VARIABLE}={child}".encode()}
        processes.end_each(lambda: processes.carrying(run, spool.path), 0)
    disk.remove(directory)
