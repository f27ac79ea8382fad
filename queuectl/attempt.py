"""Attempts: the commands of a worker's claimed jobs, with their logs, environment and limits.

Promises
    What a command that had to end has started is ended with it, also in sessions of their own.
    Its logs are its own (capture).
Leaves to others
    how a command is run (executor), what its end means (outcome), where the job goes (worker).
Raises
    OSError from begin, when the machine lacks something; executor.Full from run.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from queuectl import disk, executor, outcome, processes, results, units
from queuectl.capture import Capture, Stream, check_room
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
        self._capture = Capture(*(Stream(fd) for fd, _ in enumerate(STREAMS, 1)))

    def begin(self, claim: Claim, settings: Settings) -> None:
        """Make the pipes for the output of this attempt."""
        path = self._spool.log(claim.name.id, claim.name.attempts, "")
        paths = tuple(path + stream for stream in STREAMS)
        try:
            self._capture.begin(paths, settings.output_tail, settings.max_output)
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
            self._capture,
            settings.timeout if job.timeout is None else job.timeout,
            settings.shutdown_grace,
            self._lasts,
        )
        begun = processes.now()
        ended = executor.run(order, self._listener, self._asked)
        if ended.cause:
            # What left the process group (setsid) must not outlive the run either.
            run = (claim.name.id, claim.name.attempts)
            processes.end_all(claim.worker, 0, run)
            processes.end_each(lambda: processes.descendants(begun, run), 0)
            executor.reap()
        self._capture.finish(env)
        if not ended.cause and self._capture.is_over():
            return ended._replace(cause="output")
        return ended

    def tails(self) -> tuple[str, str]:
        """The ends of stdout and of stderr as text."""
        out, err = [outcome.text(data) if data else "" for data in self._capture.tails()]
        return out, err

    def loss(self) -> tuple[int, str]:
        """The bytes of output that could not be kept, and the reason."""
        return self._capture.loss()

    def drop(self) -> None:
        """Leave an attempt whose command was not started."""
        self._capture.drop()

    def is_possible(self, worker: str) -> bool:
        """Whether a log can be made and written now, and a process be started."""
        path = self._spool.at("logs", f".{worker}.trial")
        try:
            check_room(path)
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
    started, finished, exit_code, signal, _, _, cpu_seconds, rss, _ = ended
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
