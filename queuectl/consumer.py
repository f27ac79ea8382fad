"""Consuming: a Python program takes jobs, as workers do, and works on them itself.

It is a worker as others see it (heart), gets its names as they do (dealer) and ends its
jobs as they do (filing). One consumer holds one job at a time; for more at once there
are more consumers, in threads or processes.

Promises
    A job is given to one worker or consumer. Leaving `with job:` completes it, an exception
    fails it, with its traceback in the record; what interrupts the program gives it back, uncounted.
    Between jobs it rescues what dead workers held, and makes the ticks of schedules into jobs.
    LostClaim says that a job was rescued while it was worked on: its outcome is dropped.
Leaves to others
    what becomes of a job (retry, recovery); when heartbeats and syncs happen (heart).
Raises
    LostClaim, WrongState for `with` forgotten; OSError and QueuectlError when the spool cannot be used and `wait` is off.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from queuectl import admission, blocked, disk, inbox, liveness, recovery, wire
from queuectl.claimed import ClaimedJob
from queuectl.crew import AHEAD, Hand
from queuectl.dealer import Dealer
from queuectl.errors import Locked, WrongState
from queuectl.filename import decode, encode
from queuectl.gate import Gate
from queuectl.heart import Heart
from queuectl.log import Log
from queuectl.spool import Spool
from queuectl.ticker import Ticker

#: Seconds between two glances of a consumer that waits.
NAP = 0.1

#: Seconds until another try when the spool cannot be used.
PATIENCE = 1.0

#: Seconds that also those wait who do not wait for more: who was woken by the end of another job is due in a moment.
SOON = 0.02

#: Seconds between two sweeps of what the dead left.
SWEEP_INTERVAL = 300.0

log = logging.getLogger("queuectl")


class _Journal(Log):
    """The log of a ticker, for the logger of Python."""

    def __init__(self) -> None:
        super().__init__(-1, "text")

    def event(self, event: str, **details: Any) -> None:
        """Say it, unless nobody listens."""
        log.info("%s: %s", event, ", ".join(f"{key} {value}" for key, value in details.items()))


class _Pocket(wire.Line):
    """Where a dealer puts the names for a consumer: no pipe, the reader is here."""

    def __init__(self) -> None:
        super().__init__(-1, -1)
        self.messages: list[wire.Message] = []
        self.filled = 0.0

    def put_off(self, verb: str, text: str = "") -> None:
        """Keep a name for `next`."""
        self.messages.append(wire.Message(verb, text))
        self.filled = time.monotonic()

    def flush(self) -> bool:
        """They are here already."""
        return True

    def next(self) -> wire.Message | None:
        """The next name."""
        return self.messages.pop(0) if self.messages else None

    def left(self) -> list[wire.Message]:
        """Give up the names that would wait for too long."""
        left = self.messages if time.monotonic() - self.filled > AHEAD else []
        if left:
            self.messages = []
        return left


class Consumer:
    """An iterator over jobs. It becomes a worker at the first `next`, and is none any more after its end or `close`.

    `wait`: wait for more when there is nothing to do; `limit`: jobs to take at most; `stop` is asked before each job and
    about ten times a second while waiting.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        wait: bool = True,
        limit: int | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self._spool, self._wait, self._left, self._stop = (
            spool,
            wait,
            math.inf if limit is None else limit,
            stop,
        )
        self._heart: Heart | None = None
        self._job: ClaimedJob | None = None
        self._is_closed = False
        spool.complain = log.warning
        spool.make().guard(
            allow_root=True
        )  # root runs no commands of others here, but its own program
        self._observer = liveness.Observer(spool)
        self._dealer = Dealer(spool, trusts_times=not self._observer.is_shared)
        self._pocket = _Pocket()
        self._hand = Hand(os.getpid(), self._pocket, time.monotonic())
        self._ticker = Ticker(spool, _Journal(), log.warning, self._dealer.armed)
        self._tended = self._swept = -math.inf
        self._seen: tuple[object, ...] = ()
        self._unable = ""

    # -- as an iterator

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ClaimedJob:
        self._check_last()
        try:
            job = self._next()
        except BaseException:
            self.close()
            raise
        if job is None:
            self.close()
            raise StopIteration
        self._left -= 1
        self._job = job
        return job

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Take no more jobs; one that is still held is given back, uncounted."""
        self._is_closed = True
        heart, self._heart = getattr(self, "_heart", None), None
        if heart is not None:
            heart.finish()

    def _check_last(self) -> None:
        """The job that was given out last must have ended."""
        job, heart = self._job, self._heart
        if job is None or heart is None or job.is_ended:
            return
        if job.is_open:
            raise WrongState(
                f"job {job.id} is still being worked on; leave its 'with' before you take the next"
            )
        self.close()
        raise WrongState(
            f"job {job.id} was taken and not worked on, so it was given back; write 'with job:' around the work"
        )

    # -- taking jobs

    def _next(self) -> ClaimedJob | None:
        told = False
        while not self._is_closed and self._left > 0:
            try:
                return self._look()
            except (OSError, Locked) as error:
                if not self._wait:
                    raise
                if not told:
                    log.warning(
                        "cannot take jobs from %s: %s; trying again until that works",
                        self._spool.path,
                        error,
                    )
                    told = True
                time.sleep(PATIENCE)
        return None

    def _look(self) -> ClaimedJob | None:
        """The next job; None: it is time to end, or there is nothing to do and nobody wants to wait."""
        heart = self._enrolled()
        if not self._observer.is_shared:
            heart.look()  # elsewhere this costs a question to a server: its heartbeats are enough
        while not self._is_over(heart):
            heart = self._tend(heart)
            if message := self._pocket.next():
                if job := self._follow(heart, message):
                    return job
                for verb, name in self._pocket.left():
                    self._dealer.left(verb, name)
                continue
            poll_interval = self._spool.settings().poll_interval
            self._seen = self._versions()
            self._hand.wants, self._hand.held = 1, set()
            self._dealer.deal([self._hand], poll_interval)
            if self._pocket.messages:
                continue
            wakes = self._dealer.wakes_at([self._hand], poll_interval) or 0.0
            if (
                not self._wait
                and self._dealer.is_idle([self._hand])
                and wakes - time.monotonic() > SOON
            ):
                return None
            self._nap(heart, wakes)
        return None

    def _is_over(self, heart: Heart) -> bool:
        return self._is_closed or heart.is_stopped or bool(self._stop and self._stop())

    def _enrolled(self) -> Heart:
        if self._heart is None:
            self._spool.restore()  # somebody may have removed workers/
            self._heart = Heart(self._spool, log.warning)
            self._hand.name = self._heart.worker
        return self._heart

    def _tend(self, heart: Heart) -> Heart:
        """Do what must be done from time to time; a worker that others took for dead becomes another."""
        now = time.monotonic()
        if heart.is_lost:
            heart.finish()
            self._heart = None
            heart = self._enrolled()
        if now - self._tended >= self._spool.settings().heartbeat_interval:
            self._tended = now
            heart.look()
            self._ticker.hurry()
            for job in recovery.rescue(
                self._spool, self._observer, spare=frozenset([heart.worker]), complain=log.warning
            ):
                log.warning(
                    "job %s was rescued from worker %s: %s", job.id, job.worker, job.outcome
                )
                self._dealer.unseen = True
        if now - self._swept >= SWEEP_INTERVAL:
            self._swept = now
            self._spool.sweep()
            liveness.sweep(self._spool)
            if blocked.sweep(self._spool):
                self._dealer.unseen = True
        if time.monotonic() >= self._ticker.wakes_at:
            self._ticker.tick()
        return heart

    def _nap(self, heart: Heart, wakes: float) -> None:
        """Wait until something may have come."""
        wakes = min(
            wakes, self._ticker.wakes_at, self._tended + self._spool.settings().heartbeat_interval
        )
        while (left := wakes - time.monotonic()) > 0:
            time.sleep(min(NAP, left))
            if not self._observer.is_shared:
                heart.look()
            if self._is_over(heart) or heart.is_lost:
                return
            if not self._observer.is_shared and self._versions() != self._seen:
                self._dealer.rang()
                self._ticker.hurry()  # perhaps somebody has added a schedule
                return

    def _versions(self) -> tuple[object, ...]:
        """What changes when a job comes; a look that costs no more than two of its kind."""
        return disk.version(self._spool.at("pending")), disk.version(self._spool.at("failed"))

    # -- one name

    def _follow(self, heart: Heart, message: wire.Message) -> ClaimedJob | None:
        try:
            if message.verb == "claim":
                return self._claim(heart, message.text)
            self._admit(heart, message.text, last=message.verb == "settle")
        except FileNotFoundError:
            # Somebody removed our directory, or took us for dead. The job is where it was.
            if disk.is_there(self._spool.at("workers", heart.worker + ".json")):
                self._spool.restore()
                disk.make(self._spool.at("processing", heart.worker))
            else:
                heart.is_lost = True
        return None

    def _admit(self, heart: Heart, drop: str, *, last: bool) -> None:
        act = inbox.accept if drop.startswith("inbox/") else admission.admit
        try:
            answer = act(self._spool, drop, heart.worker, last=last)
        except FileNotFoundError:
            raise
        except (OSError, Locked) as error:
            if not self._wait:
                raise
            self._put_off(drop, error)
            return
        self._unable = ""
        if isinstance(answer, admission.Admitted):
            self._dealer.admitted(answer.file)
        elif isinstance(answer, admission.Broken):
            self._dealer.broken(drop, answer.mark)
        elif isinstance(answer, admission.Rejected):
            log.warning("drop %s was rejected: %s", drop, answer.why)

    def _put_off(self, drop: str, error: OSError | Locked) -> None:
        """The spool fails us: another try later, and meanwhile other names."""
        why = (error.strerror or "") if isinstance(error, OSError) else str(error)
        if why != self._unable:
            log.warning("cannot admit %s: %s; trying again", drop, error)
            self._unable = why
        # A mark that changes, as if somebody wrote: its grace does not run while the spool fails.
        self._dealer.broken(drop, str(time.monotonic_ns()))

    def _claim(self, heart: Heart, file: str) -> ClaimedJob | None:
        claim = self._spool.claim(file, heart.worker, self._spool.now())
        if claim is None:
            if decode(os.path.basename(file)) is None:
                self._reject(
                    file, "the name has the form of a full name, but there is no such time"
                )
            else:
                self._dealer.lost(1)  # RACE: another worker won.
            return None
        settings, gate = self._spool.settings(), Gate(self._spool, heart.worker)
        try:
            job = admission.examine(self._spool, claim, settings)
            passage = "rejected" if isinstance(job, admission.Rejected) else gate.enter(claim, job)
        except (OSError, Locked):
            with suppress(OSError):  # else it goes back when we end
                recovery.release(self._spool, claim)
                gate.leave()
            raise
        if isinstance(job, admission.Rejected):
            # Under the name it had: that no attempt was counted shows there.
            self._reject(
                claim.file, job.why, encode(claim.name._replace(attempts=claim.name.attempts - 1))
            )
            return None
        if passage != "open":
            log.info("job %s: %s", claim.name.id, gate.why or passage)
            heart.note()
            return None
        return ClaimedJob(self._spool, heart, gate, claim, job, settings)

    def _reject(self, file: str, why: str, name: str | None = None) -> None:
        if self._spool.reject(file, why, name):
            log.warning("%s was rejected: %s", os.path.basename(file), why)
