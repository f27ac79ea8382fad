"""A worker: take a job, run its command, decide, file; again.

A worker is a process of its own, started by a supervisor that hands it names through
a pipe. A name is only a hint: the rename in `claim` says whose the job is.

Promises
    The outcome of a run is recorded before the job moves, and the move commits it.
    A job that was rescued meanwhile is left alone: the outcome is dropped.
    It ends when its supervisor is gone, after the job it has.
Leaves to others
    which names, and when (supervisor, backlog); how a command is run (executor).
Raises
    nothing on purpose: what no job should do to a worker ends this process, and the
    supervisor rescues its job and starts another.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import TypeVar

from queuectl import admission, cancellation, disk, executor, ids, liveness, recovery, results, units
from queuectl.config import Settings
from queuectl.errors import InvalidJob
from queuectl.filename import encode
from queuectl.job import Job, parse
from queuectl.log import Log
from queuectl.retry import Outcome
from queuectl.spool import Claim, Spool
from queuectl.wire import Line, Message

T = TypeVar("T")

#: The signals that mean something to a worker; blocked until it can understand them.
SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)

#: Seconds of work that a worker asks for at a time: few enough that no name waits long behind a slow job.
AHEAD = 0.05

#: The most names that a worker asks for at a time.
MOST = 64

#: Seconds to wait before another try when an outcome cannot be written: a full disk may get room.
PATIENCE = 1.0


class Worker:
    """One worker process. `line` leads to its supervisor; `wake` becomes readable at every signal."""

    def __init__(self, spool: Spool, record: liveness.Record, line: Line, log: Log, wake: int) -> None:
        self.spool, self.record, self.line, self.log, self.wake = spool, record, line, log, wake
        self.name = record.worker
        self.environ = dict(os.environ)
        self.home = os.environ.get("HOME", "/")
        self.stopping = False
        self.now = False
        self.cancelling = False
        self.claim: Claim | None = None
        self.pace = AHEAD
        self.lost = 0

    # -- the loop

    def run(self) -> None:
        """Work until told to stop or until the supervisor is gone."""
        while not self.stopping:
            if self.lost:
                self.line.put_off("lost", str(self.lost))
                self.lost = 0
            self.line.send("want", str(max(1, min(MOST, int(AHEAD / self.pace)))))
            hints = self._next_hints()
            if not hints:
                break
            started = time.monotonic()
            for hint in hints:
                if not self.stopping:
                    self._follow(hint, last=hint is hints[-1])
            self.pace = 0.5 * self.pace + 0.5 * (time.monotonic() - started) / len(hints)

    def stop(self, number: int, _: object) -> None:
        """Signal handler: TERM ends the worker after its job, QUIT ends the job, too."""
        self.now = self.now or number == signal.SIGQUIT
        self.stopping = True

    def cancel(self, *_: object) -> None:
        """Signal handler: somebody may have asked to cancel the running job."""
        self.cancelling = True

    def _next_hints(self) -> list[Message] | None:
        """Wait for names from the supervisor; None when it is gone or we must stop."""
        poll = select.poll()
        poll.register(self.line.reader, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        while not self.stopping:
            ready = {fd for fd, _ in poll.poll()}
            executor.drain(self.wake)
            if self.line.reader in ready:
                hints = self.line.receive()
                if hints != []:
                    return hints
        return None

    def _follow(self, hint: Message, *, last: bool) -> None:
        if hint.verb != "claim":
            self._admit(hint.text, last=hint.verb == "settle")
            return
        claim = self.spool.claim(hint.text, self.name, time.time())
        if last:
            self.line.send("took")  # the supervisor may watch pending/ again: nothing will leave it
        if claim is None:
            self.lost += 1
        else:
            self.take(claim)

    def _admit(self, drop: str, *, last: bool) -> None:
        answer = admission.admit(self.spool, drop, self.name, last=last)
        if isinstance(answer, admission.Admitted):
            self.line.send("admitted", answer.file)
        elif isinstance(answer, admission.Broken):
            self.line.send("broken", f"{answer.mark} {drop}")
        elif isinstance(answer, admission.Rejected):
            self.log.event("rejected", drop=drop, reason=answer.why)

    # -- one job

    def take(self, claim: Claim) -> None:
        """One job from its claim to its next place."""
        job = self._read(claim)
        if job is None:
            return
        settings = self.spool.settings()
        self.claim, self.cancelling = claim, False
        self.log.event("started", job=claim.name.id, attempt=claim.name.attempts, worker=self.name)
        ended, tails = self._execute(claim, job, settings)
        self.claim = None
        if ended.cause == "interrupted":
            self._release(claim)
        else:
            self._file(claim, job, ended, tails, settings)
        if self.cancelling:
            cancellation.forget(self.spool, claim.file)

    def _read(self, claim: Claim) -> Job | None:
        """What to run; None if the file turns out to be no job of ours, and has been set aside."""
        path = self.spool.at(claim.file)
        try:
            content = disk.read(path, self.spool.settings().max_job_size)
            job = parse(content.data)
        except FileNotFoundError:
            return None  # RACE: rescued already; somebody took us for dead
        except (InvalidJob, disk.NotPlain, PermissionError) as error:
            self._reject(claim, str(error) if isinstance(error, InvalidJob) else error.strerror)
            return None
        id = claim.name.id
        if job.id not in (None, id):
            self._reject(claim, f"the id inside is {job.id!r} and the name says {id!r}")
            return None
        if content.links == 1 and not ids.is_ours(id) and not self.spool.hold_id(id, path):
            self._reject(claim, f"id {id!r} is taken: another job has it")
            return None
        return job

    def _reject(self, claim: Claim, why: str | None) -> None:
        reason = why or "it cannot be read"
        # Under the name it had: that no attempt was counted shows there.
        name = claim.name._replace(attempts=claim.name.attempts - 1)
        if self.spool.reject(claim.file, reason, encode(name)):
            self.log.event("rejected", drop=encode(name), reason=reason)

    def _execute(self, claim: Claim, job: Job, settings: Settings) -> tuple[executor.Ended, tuple[str, str]]:
        id, attempt = claim.name.id, claim.name.attempts
        out, err = self.spool.log(id, attempt, "out"), self.spool.log(id, attempt, "err")
        stdout, stderr = disk.create_log(out), disk.create_log(err)
        variables = {
            "QUEUECTL_JOB_ID": id,
            "QUEUECTL_ATTEMPT": str(attempt),
            "QUEUECTL_WORKER": self.name,
            "QUEUECTL_SPOOL": self.spool.path,
        }
        order = executor.Order(
            command=job.command,
            cwd=job.cwd or self.home,
            env={**self.environ, **job.env, **variables},
            stdin=job.stdin,
            stdout=stdout,
            stderr=stderr,
            timeout=settings.timeout if job.timeout is None else job.timeout,
            grace=settings.shutdown_grace,
        )
        try:
            ended = executor.run(order, self.wake, self._asked)
        finally:
            printed = disk.close_log(stdout, out), disk.close_log(stderr, err)
        most = settings.output_tail
        tails = [disk.read_tail(path, most) if size else b"" for path, size in zip((out, err), printed, strict=True)]
        return ended, (text(tails[0]), text(tails[1]))

    def _asked(self) -> executor.Cause | None:
        """Whether somebody wants the running command ended."""
        if self.now:
            return "interrupted"
        if self.cancelling and self.claim and cancellation.is_requested(self.spool, self.claim.file):
            return "cancelled"
        return None

    def _release(self, claim: Claim) -> None:
        if self.spool.release(claim):
            self.log.event("released", job=claim.name.id, attempt=claim.name.attempts)
        else:
            self.log.event("lost_claim", job=claim.name.id, attempt=claim.name.attempts)

    def _file(self, claim: Claim, job: Job, ended: executor.Ended, tails: tuple[str, str], settings: Settings) -> None:
        """Record how the run went, then move the job: the move commits the record."""
        outcome, reason = meaning(ended)
        verdict = recovery.judge(self.spool, claim, outcome, ended.finished_at, job.max_retries)
        target = self.spool.target(claim, *verdict)
        run = {
            **recovery.blank(claim, target),
            "host": self.record.host,
            "started_at": units.iso(ended.started_at),
            "finished_at": units.iso(ended.finished_at),
            "duration": round(max(0.0, ended.finished_at - ended.started_at), 6),
            "outcome": outcome,
            "reason": reason,
            "exit_code": ended.exit_code,
            "signal": ended.signal,
            "cpu_seconds": ended.cpu_seconds,
            "max_rss_kb": ended.max_rss_kb,
            "stdout_tail": tails[0],
            "stderr_tail": tails[1],
        }
        id = claim.name.id
        self._insist(lambda: results.append(self.spool.at("results"), id, run), id)
        # CRASH: dying here leaves a record whose move the rescue will make.
        filed = self._insist(lambda: self.spool.file(claim, target), id)
        if not filed:
            self.log.event("lost_claim", job=id, attempt=claim.name.attempts)
            return
        if settings.durability == "strict":
            self.spool.sync_outcome(id, verdict.state)
        self._report(id, run, verdict.state, verdict.due)

    def _insist(self, act: Callable[[], T], id: str) -> T:
        """Do it, however long the disk is full: until then the job stays claimed."""
        told = False
        while True:
            try:
                return act()
            except OSError as error:
                if self.now:
                    raise
                if not told:
                    self.log.event("stuck", job=id, reason=f"cannot write its outcome: {error}; trying again until it works")
                    told = True
                time.sleep(PATIENCE)

    def _report(self, id: str, run: results.Run, state: str, due: float) -> None:
        details = {key: run[key] for key in ("attempt", "duration", "exit_code", "reason") if run[key] is not None}
        if state == "failed":
            details["retry_at"] = units.iso(due)
        self.log.event(state, job=id, **details)


def meaning(ended: executor.Ended) -> tuple[Outcome, str | None]:
    """The outcome of a run and its reason in words."""
    if ended.cause == "timeout":
        return "timeout", f"took longer than its timeout ({units.span(ended.finished_at - ended.started_at)})"
    if ended.cause == "cancelled":
        return "cancelled", "cancelled while it ran"
    if ended.reason:
        return "failed", ended.reason
    if ended.signal:
        return "failed", f"ended by signal {ended.signal} ({signal.Signals(ended.signal).name})"
    return ("failed", f"exit code {ended.exit_code}") if ended.exit_code else ("completed", None)


def text(data: bytes) -> str:
    """Bytes that a command printed, as JSON can hold them."""
    return data.decode(errors="replace")


def main(spool: Spool, supervisor: str, line: Line, log: Log) -> None:
    """The life of a worker process that was just forked, with SIGNALS blocked, from `supervisor`."""
    wake, _ = executor.wake_pipe()
    record, _lock = liveness.enroll(spool, supervisor, os.getppid())
    worker = Worker(spool, record, line, log, wake)
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGQUIT, worker.stop)
    signal.signal(signal.SIGUSR1, worker.cancel)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Ctrl+C and a closed terminal reach the whole foreground group; the supervisor decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    spool.complain = lambda _: None  # the supervisor says it for all
    line.send("hello", record.worker)
    worker.run()
    liveness.dismiss(spool, record.worker)
