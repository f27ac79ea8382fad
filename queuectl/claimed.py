"""A claimed job in the hands of a Python program: `with job:` is its run.

Promises
    Leaving the block completes the job; an exception fails it, and its traceback is in the
    record and in the log. What is no Exception (KeyboardInterrupt, SystemExit, GeneratorExit,
    a cancelled task) gives it back, uncounted, and goes on its way.
    The outcome is recorded before the job moves; LostClaim says that the job was no longer ours.
    A full disk is waited for, as workers do.
Leaves to others
    the next job (consumer); beating meanwhile (heart); the way to its next place (filing).
Raises
    LostClaim at the end of the block; WrongState for a job that is worked on twice.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal, NamedTuple, NoReturn, Self, TypeVar

from queuectl import cancellation, disk, filing, recovery, units
from queuectl.config import Settings
from queuectl.errors import InvalidJob, LostClaim, QueuectlError, WrongState
from queuectl.executor import Ended
from queuectl.gate import Gate
from queuectl.heart import Heart
from queuectl.job import Job
from queuectl.spool import Claim, Spool

T = TypeVar("T")

#: Seconds to wait before another try when an outcome cannot be written: a full disk may get room.
PATIENCE = 1.0

#: Characters of an exception's text that a reason shows.
LONGEST_REASON = 500

log = logging.getLogger("queuectl")


class _Said(NamedTuple):
    """What the program said about the end of its job; `after` as in filing.End."""

    reason: str
    after: float | None


class _Enough(BaseException):
    """Leaves the block of a job whose program has said how it ends; no `except Exception` stops it."""

    def __init__(self, job: ClaimedJob) -> None:
        super().__init__(f"job {job.id} has ended")
        self.job = job


class ClaimedJob:
    """A job that this program holds; durations are seconds, times seconds since 1970.

    `attempt` counts from 1; `timeout` is what the job or the settings allow, 0 for no limit: nobody enforces it here.
    """

    def __init__(
        self, spool: Spool, heart: Heart, gate: Gate, claim: Claim, job: Job, settings: Settings
    ) -> None:
        self._spool, self._heart, self._gate, self._claim, self._settings = (
            spool,
            heart,
            gate,
            claim,
            settings,
        )
        self.id: str = claim.name.id
        self.job: Job = job
        self.command: str | tuple[str, ...] = job.command
        self.name: str | None = job.name
        self.meta: Any = job.meta
        self.priority: int = claim.name.priority
        self.attempt: int = claim.name.attempts
        self.max_retries: int = job.max_retries or settings.max_retries
        self.timeout: float = settings.timeout if job.timeout is None else job.timeout
        self.env: Mapping[str, str] = job.env
        self.stdin: str | None = job.stdin
        self.cwd: str | None = job.cwd
        self.worker: str = claim.worker
        self._state: Literal["taken", "open", "ended"] = "taken"
        self._said: _Said | None = None
        self._was_told = False
        self._began = self._thread = self._cpu = 0.0

    def __repr__(self) -> str:
        return f"<ClaimedJob {self.id} attempt {self.attempt}: {self.command!r}>"

    # -- what is to be done

    @property
    def words(self) -> tuple[str, ...]:
        """The command as words; a string is split as a shell would."""
        return tuple(shlex.split(self.command)) if isinstance(self.command, str) else self.command

    @property
    def task(self) -> str:
        """The first word of the command: the name of the task."""
        return self.words[0]

    @property
    def args(self) -> tuple[str, ...]:
        """The other words of the command."""
        return self.words[1:]

    @property
    def payload(self) -> dict[str, Any]:
        """`meta`, where it is a JSON object; {} if the job has none."""
        if self.meta is None:
            return {}
        if not isinstance(self.meta, dict):
            raise InvalidJob(
                f"is no JSON object in job {self.id}, and its consumer needs one", "meta"
            )
        return self.meta

    def environ(self) -> dict[str, str]:
        """The environment for programs that the work starts: who carries it is ended before the job runs elsewhere."""
        own = {name: value for name, value in self.env.items() if name != "QUEUECTL_SPOOL"}
        identity = {
            "QUEUECTL_JOB_ID": self.id,
            "QUEUECTL_ATTEMPT": str(self.attempt),
            "QUEUECTL_WORKER": self.worker,
        }
        return {**os.environ, "QUEUECTL_SPOOL": self._spool.path, **own, **identity}

    # -- while it is worked on

    @property
    def is_open(self) -> bool:
        """Whether the block of the job is being run."""
        return self._state == "open"

    @property
    def is_ended(self) -> bool:
        """Whether the block of the job was left."""
        return self._state == "ended"

    def is_cancelled(self) -> bool:
        """Whether somebody has asked to cancel the job. Once this has said so, the job ends as cancelled."""
        self._was_told = self._was_told or cancellation.is_requested(self._spool, self._claim.file)
        return self._was_told

    def is_lost(self) -> bool:
        """Whether others took this worker for dead: the job is theirs, and the block will end with LostClaim."""
        return self._heart.is_lost or not disk.is_there(self._spool.at(self._claim.file))

    def fail(self, reason: str, *, retry: bool = True) -> NoReturn:
        """Leave the block: the job has failed; without `retry` for good, it is dead at once."""
        self._say(reason, None if retry else math.inf)

    def retry(
        self,
        after: float | str | timedelta | None = None,
        reason: str = "asked for another attempt",
    ) -> NoReturn:
        """Leave the block: the job is to be tried again, after so many seconds (or "10m") instead of the backoff.

        The attempt counts: one that was the last is followed by none.
        """
        try:
            seconds = None if after is None else units.seconds(after)
        except ValueError as error:
            raise ValueError(f"after: {error}") from None
        self._say(reason, seconds)

    def _say(self, reason: str, after: float | None) -> NoReturn:
        if not isinstance(reason, str):
            raise TypeError(f"reason: must be a string, not {type(reason).__name__}")
        if self._state != "open":
            raise WrongState(
                f"job {self.id} is not being worked on; say how it ends inside of its 'with'"
            )
        self._said = _Said(reason, after)
        raise _Enough(self)

    # -- its run

    def __enter__(self) -> Self:
        if self._state != "taken":
            raise WrongState(
                f"job {self.id} was worked on already; take the next one from the consumer"
            )
        self._state = "open"
        self._began, self._thread, self._cpu = (
            time.time(),
            threading.get_ident(),
            time.thread_time(),
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not self._heart.is_ours:
            return False  # a forked child leaves the block: the job is its parent's
        self._state = "ended"
        if (
            error is None
            or isinstance(error, Exception)
            or (isinstance(error, _Enough) and error.job is self)
        ):
            self._file(error)
            return True
        self._release()
        return False

    def _release(self) -> None:
        try:
            if not recovery.release(self._spool, self._claim):
                log.warning("job %s was rescued while it was worked on", self.id)
        except OSError as error:
            log.warning(
                "cannot give job %s back now: %s; it goes back when the consumer ends",
                self.id,
                error,
            )
        self._leave()

    def _leave(self) -> None:
        """Give back the token of the job's limit."""
        try:
            self._gate.leave()
        except OSError as error:
            log.warning(
                "cannot give back the token of limit %s: %s; it goes back when the consumer ends",
                self.job.limit,
                error,
            )

    def _file(self, error: BaseException | None) -> None:
        text = _story(error)
        cpu = (
            round(time.thread_time() - self._cpu, 6)
            if threading.get_ident() == self._thread
            else None
        )
        ended = Ended(
            self._began,
            time.time(),
            cause="cancelled" if self._was_told else None,
            reason=(self._said.reason or "failed") if self._said else _reason(error),
            cpu_seconds=cpu,
        )
        self._insist(self._write_log, text)
        tails = ("", _tail(text, self._settings.output_tail))
        end = filing.End(
            ended, tails, self._heart.record.host, self._said.after if self._said else None
        )
        filed = filing.file(self._spool, self._claim, self.job, end, self._settings, self._insist)
        if filed:
            # CRASH: dying here leaves those asleep that wait for this end; the rescue of the worker wakes them.
            self._insist(self._gate.ended, self.id, self.job, filed[1].state)
            self._insist(self._gate.tell)
        self._leave()
        if filed is None:
            self._heart.is_lost = True
            raise LostClaim(self.id, self.worker)
        self._heart.note()
        with suppress(OSError):
            cancellation.forget(self._spool, self._claim.file)
        run, verdict = filed
        if verdict.state == "completed":
            log.info("job %s completed", self.id)
        else:
            log.warning(
                "job %s %s after attempt %d: %s",
                self.id,
                verdict.state,
                self.attempt,
                run["reason"],
            )

    def _write_log(self, text: str) -> None:
        """What `queuectl logs` shows of this attempt, instead of what an earlier one of its number left."""
        for stream in ("out", "err"):
            disk.unlink(self._spool.log(self.id, self.attempt, stream))
        if text:
            disk.write(self._spool.log(self.id, self.attempt, "err"), _bytes(text), durable=False)

    def _insist(self, act: Callable[..., T], /, *what: Any) -> T:
        """Do it, however long the disk is full: until then the job stays claimed."""
        told = False
        while True:
            try:
                return act(*what)
            except OSError as error:
                if not told:
                    log.warning(
                        "cannot write the outcome of job %s: %s; trying again until that works",
                        self.id,
                        error,
                    )
                    told = True
            with suppress(OSError, QueuectlError):
                self._spool.restore()
            time.sleep(PATIENCE)


def _reason(error: BaseException | None) -> str | None:
    """One line for an exception, as the last of its traceback says it."""
    if error is None:
        return None
    try:
        text = str(error).partition("\n")[0][:LONGEST_REASON]
    except Exception:  # an exception of the program's that cannot even be shown
        text = "<its text cannot be shown>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _story(error: BaseException | None) -> str:
    """The traceback of a failure; of one that the program declared, that of the exception it was dealing with."""
    shown = error.__context__ if isinstance(error, _Enough) else error
    return "".join(traceback.format_exception(shown)) if shown else ""


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def _tail(text: str, most: int) -> str:
    data = _bytes(text)
    return data[max(0, len(data) - most) :].decode(errors="replace")
