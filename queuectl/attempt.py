"""Attempts: the commands of a worker's claimed jobs, with their logs, their environment and their limits.

Promises
    What a command that had to end has started is ended with it, wherever it went.
    Its logs are its own (capture); they can be seen as soon as it lasts a little.
Leaves to others
    how a command is run (executor), what its end means (outcome), where the job goes (worker).
Raises
    OSError from begin and end, when the logs cannot be made or kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from queuectl import disk, executor, outcome, processes, results, units
from queuectl.capture import Capture
from queuectl.config import Settings
from queuectl.job import Job
from queuectl.retry import Outcome
from queuectl.signals import Listener
from queuectl.spool import Claim, Spool

#: What a command writes to, in this order.
STREAMS = ("out", "err")

#: Bytes that must fit on the disk before a worker that found it full claims again.
TRIAL = 4096


class Attempts:
    """The attempts of one worker, one after the other: begin, run, end.

    `listener` and `asked` as in executor.run; `lasts` is called once for a command that has not ended soon.
    """

    def __init__(
        self,
        spool: Spool,
        listener: Listener,
        asked: Callable[[], executor.Cause | None],
        lasts: Callable[[], None],
    ) -> None:
        self._spool, self._listener, self._asked, self._lasts = spool, listener, asked, lasts
        self._environ = {**os.environb, b"QUEUECTL_SPOOL": os.fsencode(spool.path)}
        self._home = os.environ.get("HOME", "/")
        self._captures = [Capture(spool.at("logs"), fd) for fd, _ in enumerate(STREAMS, 1)]
        self._outputs: list[executor.Action] = []
        self._tails: list[str] = []

    def begin(self, claim: Claim) -> None:
        """Make the logs of this attempt."""
        self._tails = []
        path = self._spool.log(claim.name.id, claim.name.attempts, "")
        try:
            self._outputs = [
                capture.begin(path + stream)
                for capture, stream in zip(self._captures, STREAMS, strict=True)
            ]
        except OSError:
            self.drop()
            raise

    def run(self, claim: Claim, job: Job, settings: Settings) -> executor.Ended:
        """Run the job's command to its end."""
        env = self._environ  # what is set below is set anew for each job
        if job.env:
            env = env | {
                name.encode(): value.encode()
                for name, value in job.env.items()
                if name != "QUEUECTL_SPOOL"
            }
        env[b"QUEUECTL_JOB_ID"] = claim.name.id.encode()
        env[b"QUEUECTL_ATTEMPT"] = b"%d" % claim.name.attempts
        env[b"QUEUECTL_WORKER"] = claim.worker.encode()
        order = executor.Order(
            job.command,
            job.cwd or self._home,
            env,
            job.stdin,
            self._outputs,
            settings.timeout if job.timeout is None else job.timeout,
            settings.shutdown_grace,
            settings.max_output,
            self._printed,
            self._show,
        )
        ended = executor.run(order, self._listener, self._asked)
        if ended.cause:
            # What left the process group (setsid) must not outlive the run either.
            processes.end_all(claim.worker, 0, (claim.name.id, claim.name.attempts))
        return ended

    def _printed(self) -> int:
        return sum(capture.size() for capture in self._captures)

    def _show(self) -> None:
        """Let the logs be seen while the command runs, if the disk permits; `end` insists on it."""
        for capture in self._captures:
            with suppress(OSError):
                capture.show()
        self._lasts()

    def end(self, tail: int) -> tuple[str, str]:
        """Keep what was printed; the last `tail` bytes of stdout and of stderr as text."""
        for capture in self._captures[
            len(self._tails) :
        ]:  # one that was kept before an error stays kept
            data = capture.end(tail)
            self._tails.append(outcome.text(data) if data else "")
        out, err = self._tails
        return out, err

    def drop(self) -> None:
        """Leave an attempt that counts for nothing; what it printed is kept if the disk permits."""
        for capture in self._captures:
            with suppress(OSError):
                capture.end(0)

    def is_possible(self, worker: str) -> bool:
        """Whether a log can be made and written now, and a process be started."""
        path = self._spool.at("logs", f".{worker}.trial")
        try:
            disk.unlink(path)
            disk.write(path, bytes(TRIAL))
            disk.unlink(path)
        except OSError:
            return False
        return executor.has_room()


def record(
    claim: Claim,
    target: str,
    host: str,
    ended: executor.Ended,
    what: Outcome,
    why: str | None,
    tails: tuple[str, str],
) -> results.Run:
    """What is known of a run after its end; `tails` are the ends of stdout and of stderr."""
    started, finished, exit_code, signal, _, _, cpu_seconds, rss = ended
    duration = round(max(0.0, finished - started), 6)
    times = units.iso(started), units.iso(finished), duration
    return results.run(
        claim.name.attempts,
        claim.file,
        target,
        claim.worker,
        host,
        *times,
        what,
        why,
        exit_code,
        signal,
        cpu_seconds,
        rss,
        *tails,
    )
