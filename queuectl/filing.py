"""Filing: the end of a run goes into the job's history, and then the job goes where its record says.

One way for all who run jobs, as commands (worker) or in Python (consumer).

Promises
    The record is appended first, the move commits it. A job that was rescued meanwhile
    is left alone: its record counts as superseded.
Leaves to others
    what the run printed (attempt), what an end means (outcome, retry), who waited for it (gate), how long to try (the caller's `insist`).
Raises
    what `insist` lets through.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from queuectl import attempt, cancellation, hooks, outcome, recovery, results
from queuectl.config import Settings
from queuectl.executor import Ended
from queuectl.job import Job
from queuectl.retry import Verdict
from queuectl.spool import Claim, Spool

T = TypeVar("T")


class Insist(Protocol):
    """Does something again and again until the disk lets it."""

    def __call__(self, act: Callable[..., T], /, *what: Any) -> T: ...


class End(NamedTuple):
    """How a run ended, the ends of what it printed, and the host it ran on.

    `after`: seconds until another try that a failure asked for, infinite for none; None: as the
    exit code says, or the backoff. `lost`: bytes of its output that could not be kept.
    """

    ended: Ended
    tails: tuple[str, str]
    host: str
    after: float | None = None
    lost: int = 0


def file(
    spool: Spool, claim: Claim, job: Job, end: End, settings: Settings, insist: Insist
) -> tuple[results.Run, Verdict] | None:
    """Record how the run of a claimed job went, then move the job; None: another worker has rescued it meanwhile."""
    ended, after = end.ended, end.after
    what, why = outcome.meaning(
        ended, settings.success_codes if job.success_codes is None else job.success_codes
    )
    if what != "completed" and cancellation.is_requested(spool, claim.file):
        what, why = "cancelled", outcome.CANCELLED
    if what == "failed" and after is None and not ended.cause:
        after = job.rules(settings.rules).after(ended.exit_code)
        if after is None and ended.is_final:
            after = math.inf
    verdict = recovery.judge(
        claim, what, ended.finished_at + spool.skew(), settings, job.max_retries, after
    )
    target = spool.target(claim, *verdict)
    run = attempt.record(claim, target, end.host, ended, what, why, end.tails)
    if end.lost:
        run["output_lost"] = end.lost
    recorded = False

    def go() -> bool:
        nonlocal recorded
        if not recorded:
            results.append(f"{spool.path}/results", claim.name.id, run)
            recorded = True
        hooks.note(spool, target, job.batch)
        # CRASH: dying here leaves a record whose move the rescue will make.
        return spool.file(claim, target)

    if not insist(go):
        spool.note("lost_claim", claim.name.id, attempt=claim.name.attempts, worker=claim.worker)
        return None
    spool.note(verdict.state, claim.name.id, state=verdict.state, worker=claim.worker, run=run)
    if settings.durability == "strict":
        spool.sync_outcome(claim, target)
    return run, verdict
