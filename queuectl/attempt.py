"""An attempt: the command of one claimed job, with its logs, its environment and its limits.

Promises
    The logs of a run are files of its own, which no earlier run may still write to.
    What a command that had to end has started is ended with it, wherever it went.
Leaves to others
    how a command is run (executor), what its end means (outcome), where the job goes (worker).
Raises
    OSError when the logs cannot be made, kept or read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from queuectl import disk, executor, outcome, processes
from queuectl.config import Settings
from queuectl.job import Job
from queuectl.spool import Claim, Spool

#: Bytes that must fit on the disk before a worker that found it full claims again.
TRIAL = 4096


class Logs(NamedTuple):
    """The open logs of a run: (descriptor, path) of each."""

    out: tuple[int, str]
    err: tuple[int, str]


def open_logs(spool: Spool, claim: Claim) -> Logs:
    """New logs for this run."""
    out, err = (spool.log(claim.name.id, claim.name.attempts, stream) for stream in ("out", "err"))
    stdout = disk.create_log(out)
    try:
        return Logs((stdout, out), (disk.create_log(err), err))
    except OSError:
        disk.close_log(stdout, out)
        raise


def is_possible(spool: Spool, worker: str) -> bool:
    """Whether a log can be made and written now."""
    path = spool.at("logs", f".{worker}.trial")
    try:
        disk.unlink(path)
        disk.write(path, bytes(TRIAL))
        disk.unlink(path)
    except OSError:
        return False
    return True


def execute(
    spool: Spool,
    claim: Claim,
    job: Job,
    settings: Settings,
    logs: Logs,
    *,
    environ: Mapping[str, str],
    wake: int,
    asked: Callable[[], executor.Cause | None],
) -> tuple[executor.Ended, tuple[str, str]]:
    """Run the job's command to its end: how that was, and the tails of what it printed. `wake` and `asked` as in executor.run."""
    variables = {
        "QUEUECTL_JOB_ID": claim.name.id,
        "QUEUECTL_ATTEMPT": str(claim.name.attempts),
        "QUEUECTL_WORKER": claim.worker,
        "QUEUECTL_SPOOL": spool.path,
    }
    order = executor.Order(
        command=job.command,
        cwd=job.cwd or environ.get("HOME", "/"),
        env={**environ, **job.env, **variables},
        stdin=job.stdin,
        stdout=logs.out[0],
        stderr=logs.err[0],
        timeout=settings.timeout if job.timeout is None else job.timeout,
        grace=settings.shutdown_grace,
        max_output=settings.max_output,
    )
    try:
        ended = executor.run(order, wake, asked)
        if ended.cause:
            # What left the process group (setsid) must not outlive the run either.
            processes.end_all(claim.worker, 0, (claim.name.id, claim.name.attempts))
    finally:
        printed = [disk.close_log(*log) for log in logs]
    tails = [disk.read_tail(path, settings.output_tail) if size else b"" for (_, path), size in zip(logs, printed, strict=True)]
    return ended, (outcome.text(tails[0]), outcome.text(tails[1]))
