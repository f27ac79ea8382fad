"""The janitor: prunes the spool from time to time, by a child of one supervisor.

Time is cut into intervals of prune_interval seconds. Whoever is the first to make the file `pruned.<number of the
interval>` prunes in it; the files of others go.

Promises
    Once in an interval, by one supervisor, on whatever host; if that dies amid it, the next time does the rest.
    Heartbeats and jobs do not wait for it.
Leaves to others
    what is old (actions), the loop (supervisor).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from queuectl import actions, disk, errand, host, units
from queuectl.layout import PRUNED
from queuectl.log import Log
from queuectl.spool import Spool

#: How much less urgent than anything else pruning is.
NICE = 10


class Janitor:
    """The janitor of one supervisor."""

    def __init__(self, spool: Spool, log: Log, warn: Callable[[str], None]) -> None:
        self._spool, self._log, self._warn = spool, log, warn
        self._pid = self._last = 0

    def tend(self, interval: float) -> None:
        """At a heartbeat: begin to prune, if nobody has in this interval of so many seconds; 0: never."""
        if not interval or self._pid:
            return
        number = int(self._spool.now() // interval)
        if number != self._last:
            self._last = number
            if take_turn(self._spool, number):
                self._pid = errand.start(self._prune, self._warn, NICE)

    def _prune(self) -> None:
        pruned = actions.prune(self._spool, self._spool.settings(), self._spool.now())
        if any(pruned.values()):
            self._log.event("pruned", **pruned)

    def ended(self, pid: int) -> bool:
        """Take note that a child has ended: whether it was this one."""
        ours = pid == self._pid
        if ours:
            self._pid = 0
        return ours

    def finish(self) -> None:
        """Let the rest be done the next time."""
        if self._pid:
            os.kill(self._pid, signal.SIGTERM)
            os.waitpid(self._pid, 0)
            self._pid = 0


def take_turn(spool: Spool, number: int) -> bool:
    """Be the one that prunes in the interval of this number. False: somebody else is."""
    own = f"{PRUNED}{number}"
    try:
        disk.write(
            spool.at(own),
            f"by {host.place().host} at {units.iso(time.time())}\n".encode(),
            durable=False,
        )
    except FileExistsError:
        return False
    # CRASH: dying here leaves what is old to the next interval.
    for name in [name for name in disk.scan(spool.path) if name.startswith(PRUNED) and name != own]:
        disk.unlink(spool.at(name))
    return True
