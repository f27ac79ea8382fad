"""The pulse: the heartbeats that a supervisor writes for its workers.

Promises
    A worker whose record somebody has removed is told to stop: its job is another's by now.
    When no heartbeat can be written for most of the lease, is_too_old says so: at its end others
    take the workers for dead, and by then nothing of them may run.
Leaves to others
    judging heartbeats (liveness), stopping (supervisor).
Raises
    nothing: what the disk refuses is told to `warn`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from queuectl import liveness
from queuectl.crew import Hand
from queuectl.errors import complaint
from queuectl.guard import Guard
from queuectl.log import Log
from queuectl.spool import Spool

#: The part of the lease after which a supervisor that cannot beat gives up.
HEARTLESS = 0.6


class Pulse:
    """Beats for workers of the spool."""

    def __init__(self, spool: Spool, warn: Callable[[str], None]) -> None:
        self._spool, self._warn = spool, warn
        self._guard: Guard | None = None

    def guard_with(self, supervisor: str, log: Log) -> None:
        """Have a guard: on a network even the heartbeat may block."""
        self._guard = Guard(supervisor, self.patience(), log)

    def descriptors(self) -> list[int]:
        """What no child of the supervisor may keep open."""
        return [self._guard.writer] if self._guard else []

    def ended(self, pid: int) -> bool:
        """Take note that a child has ended: whether it was the guard."""
        ours = self._guard is not None and pid == self._guard.pid
        if ours and self._guard:
            os.close(self._guard.writer)
            self._guard = None
        return ours

    def finish(self) -> None:
        """Let the guard go."""
        if self._guard:
            self._guard.finish()

    def patience(self) -> float:
        """Seconds without a heartbeat after which nothing of us may run any more."""
        return HEARTLESS * liveness.lease(self._spool)

    def beat(self, hands: list[Hand]) -> None:
        """Say that all of them are alive."""
        started = time.monotonic()
        for hand in hands:
            try:
                self._beat(hand)
            except Exception as error:  # whatever it is, the others are alive
                self._warn(f"cannot write a heartbeat: {complaint(error)}")
        if self._guard and all(hand.beaten >= started for hand in hands):
            self._guard.beat(self.patience())

    def is_too_old(self, hands: list[Hand]) -> bool:
        """Whether one of them has had no heartbeat for so long that all must stop."""
        oldest = min((hand.beaten for hand in hands), default=time.monotonic())
        return time.monotonic() - oldest > self.patience()

    def _beat(self, hand: Hand) -> None:
        if liveness.beat(self._spool, hand.name):
            hand.beaten = time.monotonic()
            return
        if not self._spool.is_itself():
            return  # RACE: the record went with the whole spool, which the next chore tells
        self._warn(f"the record of worker {hand.name} was removed; ending it")
        os.kill(hand.pid, signal.SIGQUIT)
