"""A worker: take a job, run its command, decide, file; again.

A worker is a process of its own (life); a supervisor hands it names through a pipe. A
name is only a hint: the rename in `claim` says whose the job is.

Promises
    The outcome of a run is recorded before the job moves, and the move commits it.
    A job that was rescued meanwhile is left alone: the outcome is dropped.
    It ends when its supervisor is gone, after the job it has.
Leaves to others
    which names, and when (supervisor, dealer); how a command is run (executor).
Raises
    nothing on purpose: what no job should do to a worker ends this process, and the
    supervisor rescues its job and starts another.
"""

from __future__ import annotations

import functools
import math
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from queuectl import (
    admission,
    attempt,
    cancellation,
    disk,
    executor,
    filing,
    inbox,
    liveness,
    recovery,
    units,
)
from queuectl.config import Settings
from queuectl.crew import AHEAD, HELD
from queuectl.errors import Locked
from queuectl.filename import decode, encode, id_of
from queuectl.gate import Gate
from queuectl.job import Job
from queuectl.log import Log
from queuectl.signals import Listener
from queuectl.spool import Claim, Spool
from queuectl.wire import Line, Message

T = TypeVar("T")

#: The most names that a worker asks for at a time.
MOST = 64

#: Seconds after which outcomes are announced although more names are at hand.
ANNOUNCE = 0.25

#: Seconds to wait before another try when an outcome cannot be written: a full disk may get room.
PATIENCE = 1.0


class Worker:
    """One worker process. `line` leads to its supervisor."""

    def __init__(
        self, spool: Spool, record: liveness.Record, line: Line, log: Log, listener: Listener
    ) -> None:
        self.spool, self.record, self.line, self.log, self.listener = (
            spool,
            record,
            line,
            log,
            listener,
        )
        self.name = record.worker
        self.stopping = self.now = False
        self.cancelling, self.stuck = False, ""
        self.attempts = attempt.Attempts(spool, listener, self._asked, self._announce)
        self.announced, self.filed = 0.0, False
        self.gate = Gate(spool, self.name)
        self.settings, self.looked = spool.settings(), -math.inf
        self.claim: Claim | None = None
        self.pace = AHEAD
        self.lost = 0
        self.unable = ""

    # -- the loop

    def run(self) -> None:
        """Work until told to stop or until the supervisor is gone."""
        while not self.stopping:
            if self.lost:
                self.line.put_off("lost", str(self.lost))
            self.lost, self.filed = 0, False  # asking for more says as much
            self.line.send("want", str(max(1, min(MOST, int(AHEAD / self.pace)))))
            hints = self._next_hints()
            if not hints:
                break
            self.looked = -math.inf  # who set something before these names came has set it for them
            self._follow_all(hints)
            self._insist(id_of(hints[-1].text), self.gate.tell)
        self.log.flush()
        if os.getppid() != self.record.supervisor_pid:
            with suppress(OSError):  # a supervisor would warn; there is none
                disk.sync_all(self.spool.path)

    def stop(self, number: int, _: object) -> None:
        """Signal handler: TERM ends the worker after its job, QUIT ends the job, too."""
        self.now = self.now or number == signal.SIGQUIT
        self.stopping = True

    def cancel(self, *_: object) -> None:
        """Signal handler: somebody may have asked to cancel the running job."""
        self.cancelling = True

    def _next_hints(self) -> list[Message] | None:
        """Wait for names from the supervisor; None when it is gone or we must stop."""
        self.log.flush()
        executor.reap()
        os.chdir("/")  # who rests in a job's directory keeps its file system busy
        while not self.stopping:
            if self.listener.attend(self.line.reader):
                hints = self.line.receive()
                if hints != []:
                    return hints
        return None

    def _follow_all(self, hints: list[Message]) -> None:
        """Follow the names that were given together; those that would wait for too long are given back."""
        started = now = time.monotonic()
        last, left = hints[-1], iter(hints)
        patience = HELD if last.verb == "claim" else AHEAD
        for hint in left:
            # Who is an orphan has nobody who beats for it, nor makes durable what it files.
            if self.stopping or os.getppid() != self.record.supervisor_pid:
                return
            self._follow(hint, last=hint is last)
            now = time.monotonic()
            if now - started > patience:
                break
        rest = list(left)
        for hint in rest:
            self.line.put_off("left", " ".join(hint))
        if last.verb == "claim":
            self.pace = 0.5 * self.pace + 0.5 * (now - started) / (len(hints) - len(rest))

    def _follow(self, hint: Message, *, last: bool) -> None:
        if hint.verb != "claim":
            self.log.flush()
            self._admit(hint.text, last=hint.verb == "settle")
            return
        if self.line.unsent:
            self.line.flush()
        try:
            claim = self.spool.claim(hint.text, self.name, self.spool.now())
        except FileNotFoundError:
            claim = None  # somebody removed our directory; the job is where it was
            self._restore()
        if last:
            self.line.send("took")  # the supervisor may watch pending/ again: nothing will leave it
        if claim is not None:
            self.take(claim)
            self._insist(claim.name.id, self.gate.leave)
            if self.stuck:
                self._await_room()
        elif decode(os.path.basename(hint.text)) is None:
            self._set_aside(
                hint.text, "the name has the form of a full name, but there is no such time"
            )
        else:
            self.lost += 1

    def _look(self) -> Settings:
        """The settings, at most AHEAD old and never older than the names we were given last."""
        now = time.monotonic()
        if now - self.looked > AHEAD:
            self.settings, self.looked = self.spool.settings(), now
        return self.settings

    def _restore(self) -> None:
        """Make our directories again, if somebody removed them and the disk lets us."""
        try:
            self.spool.restore()
            disk.make(self.spool.at("processing", self.name))
        except OSError:
            pass  # whoever called says what is wrong, and tries again

    def _admit(self, drop: str, *, last: bool) -> None:
        try:
            act = inbox.accept if drop.startswith("inbox/") else admission.admit
            answer = act(self.spool, drop, self.name, last=last)
        except (OSError, Locked) as error:
            self._put_off(drop, error)
            return
        self.unable = ""
        if isinstance(answer, admission.Admitted):
            self.line.put_off(
                "admitted", answer.file
            )  # it goes with what is sent next, which is soon
        elif isinstance(answer, admission.Broken):
            self.line.put_off("broken", f"{answer.mark} {drop}")
        elif isinstance(answer, admission.Rejected):
            self.log.event("rejected", drop=drop, reason=answer.why)

    def _put_off(self, drop: str, error: OSError | Locked) -> None:
        """The spool fails us: another try later, and meanwhile other names."""
        why = (error.strerror or "") if isinstance(error, OSError) else str(error)
        if why != self.unable:
            self.log.event("warning", reason=f"cannot admit {drop}: {error}; trying again")
            self.unable = why
        self._restore()
        # A mark that changes, as if somebody wrote: its grace does not run while the spool fails.
        self.line.put_off("broken", f"{time.monotonic_ns()} {drop}")

    def _set_aside(self, file: str, why: str, name: str | None = None) -> None:
        name = name or os.path.basename(file)
        if self.spool.reject(file, why, name):
            self.log.event("rejected", drop=name, reason=why)

    # -- one job

    def take(self, claim: Claim) -> None:
        """One job from its claim to its next place."""
        settings = self._look()
        try:
            job = admission.examine(self.spool, claim, settings)
            if isinstance(job, admission.Rejected):
                self._reject(claim, job.why)
                return
            if (passage := self.gate.enter(claim, job)) != "open":
                self._turned_away(claim, passage)
                return
            self.attempts.begin(claim, settings)
        except (OSError, Locked) as error:
            self._give_up(claim, error)
            return
        if self.stuck:
            self.log.event("unstuck", worker=self.name)
        self.stuck = ""
        self.claim, self.cancelling = claim, False
        self.log.put_off(
            "started", job=claim.name.id, attempt=claim.name.attempts, worker=self.name
        )
        try:
            ended = self.attempts.run(claim, job, settings)
        except executor.Full as error:
            self.attempts.drop()
            self._give_up(claim, error)
            return
        finally:
            self.claim = None
        if ended.cause == "interrupted" and not cancellation.is_requested(self.spool, claim.file):
            self._release(claim)
        else:
            self._file(claim, job, ended, settings)
        if time.monotonic() - self.announced > ANNOUNCE:
            self._announce()
        if self.cancelling:
            cancellation.forget(self.spool, claim.file)

    def _announce(self) -> None:
        """Tell the supervisor, which makes outcomes durable, and the log, before a job that lasts and now and then among quick ones."""
        self.log.flush()
        if self.filed:
            self.filed, self.announced = False, time.monotonic()
            self.line.send("filed")
            with suppress(OSError):  # at the next try it is insisted upon
                self.gate.tell()

    def _reject(self, claim: Claim, why: str) -> None:
        # Under the name it had: that no attempt was counted shows there.
        name = claim.name._replace(attempts=claim.name.attempts - 1)
        self._set_aside(claim.file, why, encode(name))

    def _turned_away(self, claim: Claim, passage: str) -> None:
        self.filed = True
        if passage == "lost":
            self.log.event("lost_claim", job=claim.name.id, attempt=claim.name.attempts)
        else:
            self.log.event(
                "blocked" if passage == "blocked" else "dead",
                job=claim.name.id,
                reason=self.gate.why,
            )

    def _give_up(self, claim: Claim, error: OSError | Locked) -> None:
        """The spool fails us before the command runs: that is not the job's fault, so the attempt does not count."""
        what, file = (
            (error.strerror or str(error), str(error.filename))
            if isinstance(error, OSError)
            else (str(error), claim.file)
        )
        self._stick(what, file)
        self._announce()  # what went well before must not wait for what does not
        self._restore()
        self._release(claim)

    def _lost_output(self, claim: Claim, lost: int, why: str) -> None:
        """The disk had no room for output: take no more jobs until it has."""
        self.log.event("warning", job=claim.name.id, reason=f"lost {lost} bytes of output: {why}")
        self._stick(f"no room for output: {why}", claim.file)

    def _stick(self, why: str, file: str) -> None:
        """Say once why no job is taken."""
        why = f"cannot start jobs: {why}; claiming none until that works again"
        if why != self.stuck:
            self.log.event("stuck", worker=self.name, reason=why, file=file)
            self.stuck = why

    def _await_room(self) -> None:
        """Wait until the machine has what a job needs, or until told to stop."""
        while True:
            self.listener.hear(PATIENCE)
            if self.stopping or self.attempts.is_possible(self.name):
                return
            self._restore()

    def _asked(self) -> executor.Cause | None:
        """Whether somebody wants the running command ended."""
        if self.now:
            return "interrupted"
        if (
            self.cancelling
            and self.claim
            and cancellation.is_requested(self.spool, self.claim.file)
        ):
            return "cancelled"
        return None

    def _release(self, claim: Claim) -> None:
        if self._insist(claim.name.id, recovery.release, self.spool, claim):
            self.log.event("released", job=claim.name.id, attempt=claim.name.attempts)
        else:
            self.log.event("lost_claim", job=claim.name.id, attempt=claim.name.attempts)

    def _file(self, claim: Claim, job: Job, ended: executor.Ended, settings: Settings) -> None:
        """Record how the run went, then move the job: the move commits the record."""
        id = claim.name.id
        lost, why = self.attempts.loss()
        if lost:
            self._lost_output(claim, lost, why)
        end = filing.End(ended, self.attempts.tails(), self.record.host, lost=lost)
        filed = filing.file(
            self.spool, claim, job, end, settings, functools.partial(self._insist, id)
        )
        if filed is None:
            self.log.event("lost_claim", job=id, attempt=claim.name.attempts)
            return
        self.filed = True
        run, verdict = filed
        # CRASH: dying before those that wait for this end are told leaves them asleep; our rescue wakes them.
        self._insist(id, self.gate.ended, id, job, verdict.state)
        details = {
            key: run[key]
            for key in ("attempt", "duration", "exit_code", "reason")
            if run[key] is not None
        }
        if verdict.state == "failed":
            details["retry_at"] = units.iso(verdict.due)
        self.log.put_off(verdict.state, job=id, **details)

    def _insist(self, id: str, act: Callable[..., T], *what: Any) -> T:
        """Do it, however long the disk is full: until then the job stays claimed."""
        told, patience = False, math.inf
        while True:
            try:
                return act(*what)
            except OSError as error:
                if self.stopping:
                    patience = min(patience, time.monotonic() + self.settings.shutdown_grace)
                if self.now or time.monotonic() >= patience:
                    # CRASH: the job stays claimed. Its rescue does what its record says.
                    raise
                if not told:
                    self.log.event(
                        "stuck",
                        job=id,
                        reason=f"cannot write what became of it: {error}; trying again until it works",
                    )
                    told = True
                self._restore()
                self.listener.hear(PATIENCE)
