"""The chores: what a supervisor does from time to time, beside dealing names.

At every heartbeat it beats for its workers and for itself, rescues what the dead held and
does what others asked for by files; when a schedule ticks it makes a job of it; every few
minutes it clears away what nobody needs.

Promises
    A chore that fails, however it does, keeps no other from being done. Its complaint is logged once,
    and again if it comes back after a success. The supervisor rests after a failure, so nothing spins.
    `requests` hears it when a chore finds that the supervisor must stop; `fatal` says why that is an error.
Leaves to others
    who is dead (liveness, recovery), which ticks (ticker), stopping (supervisor).
Raises
    OSError from begin.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from queuectl import blocked, cancellation, closing, liveness, recovery, units
from queuectl.crew import Crew
from queuectl.errors import complaint
from queuectl.janitor import Janitor
from queuectl.log import Log
from queuectl.notify import Notifier
from queuectl.phase import Phase, Requests
from queuectl.porter import Porter
from queuectl.pulse import Pulse
from queuectl.spool import Spool
from queuectl.ticker import Ticker

T = TypeVar("T")

#: Seconds between two sweeps of what the dead left; jobs are never among it, but for those of a doctor that died.
SWEEP_INTERVAL = 300.0

#: Seconds by which the clock must go back between two heartbeats before it is told: file servers are asked now and then.
BACK = 5.0

#: Seconds until another look after a rescue that came too early, and until the first chores if no worker comes up.
SOON = 0.1

#: Seconds for which a supervisor rests after something has failed, unless somebody wakes it.
REST = 1.0


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
        self.requests, self.fatal, self.is_spool_gone = Requests(), "", False
        #: Whether none of them has been done yet.
        self.is_new = True
        self._due, self._swept, self._ahead = 0.0, -math.inf, -math.inf
        self._told: dict[str, object] = {}
        self._rests_until = -math.inf

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
        for finish in (self.porter.finish, self.janitor.finish, self.pulse.finish):
            self.do(finish)
        self.do(liveness.dismiss_supervisor, self.spool, self.name)

    def warn(self, reason: str) -> None:
        """Say what went wrong; the work goes on."""
        self.log.event("warning", reason=reason)

    # -- trying

    def do(self, act: Callable[..., T], *what: object) -> T | None:
        """Do it; an error is logged, and None is answered: the next try may work."""
        try:
            answer = act(*what)
        except Exception as error:  # whatever it is, the supervisor goes on
            self._complain(_name(act), error)
            return None
        if self._told:
            self._told.pop(_name(act), None)
        return answer

    def _complain(self, what: str, error: Exception) -> None:
        self._rests_until = time.monotonic() + REST
        if isinstance(error, FileNotFoundError) and (
            self.is_spool_gone or not self._is_spool_there()
        ):
            return  # it is said why
        why = complaint(error)
        # The names of temporary files differ each time.
        same = (type(error), error.errno) if isinstance(error, OSError) else why
        if self._told.get(what) != same:
            self._told[what] = same
            self.warn(why)

    def _is_spool_there(self) -> bool:
        """Whether the spool is the one that we serve; if not, end: whatever is in its place is somebody else's."""
        try:
            is_there = self.spool.is_itself()
        except OSError:
            return True  # a disk that does not answer now
        if not is_there:
            self.is_spool_gone = True
            self._end(f"{self.spool.path} was removed, moved or replaced by another directory")
        return is_there

    def _end(self, why: str) -> None:
        """End this supervisor and its commands, with an error."""
        if not self.fatal:
            self.fatal = why
            self.warn(f"{why}: ending the running commands and stopping")
            self.requests.ask(Phase.ENDING)

    # -- when

    def tend(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        self.do(self.notifier.beat)
        self.do(self.log.rotate, self.settings.log_size)
        if now < self._due and self.is_new:
            return
        if now >= self._due:
            self._due, self.is_new = now + self.settings.heartbeat_interval, False
            self._do_all(self._at_heartbeat)
            self._due = min(
                self._due, now + self.settings.heartbeat_interval
            )  # it may be another one by now
            self.ticker.hurry()
        if now - self._swept >= SWEEP_INTERVAL:
            self._swept = now
            self._do_all(self._at_sweep)
        self._do_all([self.porter.tend])
        if time.monotonic() >= self.ticker.wakes_at:
            self._do_all([self.ticker.tick])

    def _do_all(self, chores: Iterable[Callable[[], object]]) -> None:
        """Do them; none once there is no spool of ours any more."""
        for chore in chores:
            if not self.is_spool_gone:
                self.do(chore)

    @property
    def _at_heartbeat(self) -> tuple[Callable[[], object], ...]:
        return (
            self._stand,
            self._settle,
            self._say_how_it_is,
            self._beat,
            self._beat_itself,
            self._rescue,
            self._hear_of_stops,
            self._hear_of_cancels,
            self._see_to_hooks,
            self._prune,
            self._check_clock,
        )

    @property
    def _at_sweep(self) -> tuple[Callable[[], object], ...]:
        """Clear away what the dead left in tmp/ and in workers/, and wake whom they left asleep."""
        return self.spool.sweep, self._sweep_workers, self._sweep_batches, self._wake_blocked

    def rang(self) -> None:
        """Something came into pending/: perhaps the bell of somebody who added a schedule."""
        self.ticker.hurry()

    def hurry(self) -> None:
        """Do the chores now: the workers are up, or one has died without a name, and who knows what it left."""
        self._due = 0.0

    def wakes_at(self) -> float:
        """When `tend` has something to do, by the monotonic clock."""
        times = [self._due, self.notifier.wakes_at()]
        if not (self.is_new or self.is_spool_gone):
            times += [self.ticker.wakes_at, self.porter.wakes_at()]
        return min(times)

    def rests_until(self) -> float:
        """Before when nothing is tried again by itself, by the monotonic clock: something has just failed."""
        return self._rests_until

    # -- what

    def _stand(self) -> None:
        """See that the spool is there, whole."""
        if self._is_spool_there() and (made := self.spool.restore()):
            self.warn(f"{', '.join(made)} of the spool was removed or moved; made again")

    def _settle(self) -> None:
        self.settings = self.spool.settings()

    def _say_how_it_is(self) -> None:
        self.notifier.status(self.crew.in_words())

    def _beat(self) -> None:
        try:
            self.pulse.beat(self.crew.known())
        finally:
            if self.pulse.is_too_old(self.crew.known()):
                self._end(
                    f"no heartbeat could be written to {self.spool.path} for most of the lease"
                )

    def _beat_itself(self) -> None:
        if not liveness.beat_supervisor(self.spool, self.name):
            # Somebody has removed our file: without it nobody finds us to stop us.
            old, self.lock = self.lock, liveness.enroll_supervisor(self.spool, self.name)
            os.close(old)

    def _rescue(self) -> None:
        ours = frozenset(hand.name for hand in self.crew.hands.values())
        self._report(recovery.rescue(self.spool, self.observer, spare=ours, complain=self.warn))

    def bury(self, worker: str) -> None:
        """Move on what a worker of ours left that has died."""
        self.do(self._bury, worker)

    def _bury(self, worker: str) -> None:
        self._report(recovery.rescue_worker(self.spool, worker, liveness.read(self.spool, worker)))
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

    def _hear_of_stops(self) -> None:
        """Stop if somebody on another host has asked for it by a file."""
        now = liveness.is_asked_to_stop(self.spool, self.name)
        if now is not None:
            self.requests.ask(Phase.ENDING if now else Phase.FINISHING)

    def _hear_of_cancels(self) -> None:
        """Wake those workers whose running job somebody on another host has asked to cancel."""
        for hand in self.crew.known():
            if cancellation.is_pending(self.spool, hand.name):
                os.kill(hand.pid, signal.SIGUSR1)

    def ended(self, pid: int) -> None:
        """Take note that a child has ended."""
        if not self.do(self.janitor.ended, pid):
            self.do(self.porter.ended, pid)

    def is_busy(self, phase: Phase) -> bool:
        """Whether there is something to be done before a supervisor in this phase may end.

        That is all of the chores once, and then the hooks; nothing if it must end now.
        """
        return phase < Phase.ENDING and (self.is_new or self.porter.is_busy())

    def _see_to_hooks(self) -> None:
        self.porter.refresh(self.observer)

    def _prune(self) -> None:
        self.janitor.tend(self.settings.prune_interval)

    def _check_clock(self) -> None:
        """Say once that the clock by which jobs become due was set back."""
        ahead = self.spool.now() - time.monotonic()
        if (back := self._ahead - ahead) > BACK:
            self.warn(
                f"the clock was set back by {units.span(round(back))}: jobs may wait that much longer; 'queuectl doctor' names them, --fix mends them"
            )
        self._ahead = ahead

    def _sweep_workers(self) -> None:
        liveness.sweep(self.spool)

    def _sweep_batches(self) -> None:
        closing.sweep(self.spool)

    def _wake_blocked(self) -> None:
        if blocked.sweep(self.spool):
            self._moved()


def _name(act: Callable[..., object]) -> str:
    return getattr(act, "__qualname__", type(act).__name__)
