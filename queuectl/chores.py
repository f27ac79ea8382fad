"""The chores: what a supervisor does from time to time, beside dealing names.

At every heartbeat it beats for its workers and for itself, rescues what the dead held and
does what others asked for by files; when a schedule ticks it makes a job of it; every few
minutes it clears away what nobody needs.

Promises
    One chore that fails does not keep the others from being done; it is told to `warn`.
    `wanted` says how it should stop, once a chore has found that it must: 1 after the running jobs, 2 at once.
Leaves to others
    who is dead (liveness, recovery), which ticks (ticker), stopping (supervisor).
Raises
    nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Iterator

from queuectl import blocked, cancellation, closing, liveness, recovery, units
from queuectl.crew import Crew
from queuectl.errors import QueuectlError
from queuectl.janitor import Janitor
from queuectl.log import Log
from queuectl.notify import Notifier
from queuectl.porter import Porter
from queuectl.pulse import Pulse
from queuectl.spool import Spool
from queuectl.ticker import Ticker

#: Seconds between two sweeps of what the dead left; jobs are never among it, but for those of a doctor that died.
SWEEP_INTERVAL = 300.0

#: Seconds by which the clock must go back between two heartbeats before it is told: file servers are asked now and then.
BACK = 5.0

#: Seconds until another look after a rescue that came too early, and until the first chores if no worker comes up.
SOON = 0.1


class Chores:
    """The chores of the supervisor `name`. `moved` hears that a job has come back into the spool."""

    def __init__(
        self, spool: Spool, name: str, crew: Crew, log: Log, moved: Callable[[], None]
    ) -> None:
        self.spool, self.name, self.crew, self.log, self._moved = spool, name, crew, log, moved
        self.observer = liveness.Observer(spool)
        self.pulse = Pulse(spool, self.warn)
        self.ticker = Ticker(spool, log, self.warn, moved)
        self.notifier = Notifier()
        self.porter, self.janitor = (
            Porter(spool, name, log, self.warn),
            Janitor(spool, log, self.warn),
        )
        self.settings = spool.settings()
        self.wanted, self.is_heartless = 0, False
        #: Whether none of them has been done yet.
        self.is_new = True
        self._due, self._swept, self._ahead = 0.0, -math.inf, -math.inf

    def begin(self) -> None:
        """Become a supervisor that others see. The chores wait a moment, or for `hurry`: first the workers get something to do."""
        if self.observer.is_shared:
            self.pulse.guard_with(
                self.name, self.log
            )  # before there is a lock or a pipe that it could keep open
        self.lock = liveness.enroll_supervisor(self.spool, self.name)
        self._due = time.monotonic() + SOON

    def end(self) -> None:
        """Be a supervisor no more."""
        self.porter.finish()
        self.janitor.finish()
        self.pulse.finish()
        liveness.dismiss_supervisor(self.spool, self.name)

    def warn(self, reason: str) -> None:
        """Say what went wrong; the work goes on."""
        self.log.event("warning", reason=reason)

    @contextlib.contextmanager
    def complaining(self) -> Iterator[None]:
        """Say what went wrong and go on: the next look may work."""
        try:
            yield
        except (QueuectlError, OSError) as error:
            self.warn(str(error))

    # -- when

    def tend(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        self.notifier.beat()
        self.log.rotate(self.settings.log_size)
        if now < self._due and self.is_new:
            return
        if now >= self._due:
            self._due, self.is_new = now + self.settings.heartbeat_interval, False
            self.notifier.status(self.crew.in_words())
            for chore in (
                self._beat,
                self._rescue,
                self._relay_requests,
                self._tidy,
                self._check_clock,
            ):
                with self.complaining():
                    chore()
            self._due = min(
                self._due, now + self.settings.heartbeat_interval
            )  # it may be another one by now
            self.ticker.hurry()
        if now - self._swept >= SWEEP_INTERVAL:
            self._swept = now
            with self.complaining():
                self._sweep()
        with self.complaining():
            self.porter.tend()
        if time.monotonic() >= self.ticker.wakes_at:
            with self.complaining():
                self.ticker.tick()

    def rang(self) -> None:
        """Something came into pending/: perhaps the bell of somebody who added a schedule."""
        self.ticker.hurry()

    def hurry(self) -> None:
        """Do the chores now: the workers are up, or one has died without a name, and who knows what it left."""
        self._due = 0.0

    def wakes_at(self) -> float:
        """When `tend` has something to do, by the monotonic clock."""
        times = self._due, self.notifier.wakes_at()
        return (
            min(times) if self.is_new else min(*times, self.ticker.wakes_at, self.porter.wakes_at())
        )

    # -- what

    def _beat(self) -> None:
        self.settings = self.spool.settings()
        if not self.pulse.beat(self.crew.known()) and not self.is_heartless:
            self.warn(
                "heartbeats cannot be written: ending the commands and stopping, before others run the same jobs"
            )
            self.wanted, self.is_heartless = 2, True
        if not liveness.beat_supervisor(self.spool, self.name):
            # Somebody has removed our file: without it nobody finds us to stop us.
            old, self.lock = self.lock, liveness.enroll_supervisor(self.spool, self.name)
            os.close(old)

    def _rescue(self) -> None:
        ours = frozenset(hand.name for hand in self.crew.hands.values())
        self._report(recovery.rescue(self.spool, self.observer, spare=ours, complain=self.warn))

    def bury(self, worker: str) -> None:
        """Move on what a worker of ours left that has died."""
        with self.complaining():
            self._report(
                recovery.rescue_worker(self.spool, worker, liveness.read(self.spool, worker))
            )
            if liveness.read(self.spool, worker):
                # RACE: it was about to start a command, which has its lock until it is another program.
                self._due = min(self._due, time.monotonic() + SOON)

    def _report(self, rescued: list[recovery.Rescued]) -> None:
        for job in rescued:
            self._moved()
            state = job.target.partition("/")[0]
            self.log.event(
                "rescued", job=job.id, worker=job.worker, outcome=job.outcome, state=state
            )

    def _relay_requests(self) -> None:
        """Do what others asked for by files: stop, and wake those workers whose running job is to be cancelled."""
        now = liveness.is_asked_to_stop(self.spool, self.name)
        if now is not None:
            self.wanted = max(self.wanted, 1 + now)
        for hand in self.crew.known():
            if cancellation.is_pending(self.spool, hand.name):
                os.kill(hand.pid, signal.SIGUSR1)

    def ended(self, pid: int) -> None:
        """Take note that a child has ended."""
        with self.complaining():
            if not self.janitor.ended(pid):
                self.porter.ended(pid)

    def is_busy(self, stopping: int) -> bool:
        """Whether there is something to be done before a supervisor that is `stopping` may end, unless it must end now.

        That is all of the chores once, and then the hooks.
        """
        return stopping < 2 and (self.is_new or self.porter.is_busy())

    def _tidy(self) -> None:
        self.porter.refresh(self.observer)
        self.janitor.tend(self.settings.prune_interval)

    def _check_clock(self) -> None:
        """Say once that the clock by which jobs become due was set back."""
        ahead = self.spool.now() - time.monotonic()
        if (back := self._ahead - ahead) > BACK:
            self.warn(
                f"the clock was set back by {units.span(round(back))}: jobs may wait that much longer; 'queuectl doctor' names them, --fix mends them"
            )
        self._ahead = ahead

    def _sweep(self) -> None:
        """Clear away what the dead left in tmp/ and in workers/, and wake whom they left asleep."""
        self.spool.sweep()
        liveness.sweep(self.spool)
        closing.sweep(self.spool)
        if blocked.sweep(self.spool):
            self._moved()
