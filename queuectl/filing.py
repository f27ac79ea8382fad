"""Filing: the end of a run goes into the job's history, and then the job goes where its record says.

One way for all who run jobs, as commands (worker) or in Python (consumer).

Promises
    The record is appended first, the move commits it. A job that was rescued meanwhile
    is left alone: its record counts as superseded.
Leaves to others
    what the run printed (attempt), what an end means (outcome, retry), how long to try (the caller's `insist`).
Raises
    what `insist` lets through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from queuectl import attempt, cancellation, gate, hooks, outcome, recovery, results
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

    `after`: seconds until another try that a failure asked for, infinite for none; None: as the exit code says, or the backoff.
    """

    ended: Ended
    tails: tuple[str, str]
    host: str
    after: float | None = None


def file(spool: Spool, claim: Claim, job: Job, end: End, settings: Settings, insist: Insist) -> tuple[results.Run, Verdict] | None:
    """Record how the run of a claimed job went, then move the job; None: another worker has rescued it meanwhile."""
    ended, rules = end.ended, job.rules(settings.rules)
    what, why = outcome.meaning(ended, rules.success)
    if what != "completed" and cancellation.is_requested(spool, claim.file):
        what, why = "cancelled", outcome.CANCELLED
    after = rules.after(ended.exit_code) if what == "failed" and end.after is None and not ended.cause else end.after
    verdict = recovery.judge(claim, what, ended.finished_at + spool.skew(), settings, job.max_retries, after)
    target = spool.target(claim, *verdict)
    run = attempt.record(claim, target, end.host, ended, what, why, end.tails)
    insist(results.append, spool.at("results"), claim.name.id, run)
    insist(hooks.note, spool, target, job.batch)
    # CRASH: dying here leaves a record whose move the rescue will make.
    if not insist(spool.file, claim, target):
        spool.note("lost_claim", claim.name.id, attempt=claim.name.attempts, worker=claim.worker)
        return None
    spool.note(verdict.state, claim.name.id, state=verdict.state, worker=claim.worker, run=run)
    # CRASH: dying here leaves those asleep that wait for this end; the rescue of the worker wakes them.
    insist(gate.ended, spool, claim.name.id, job, verdict.state)
    if settings.durability == "strict":
        spool.sync_outcome(claim, target)
    return run, verdict
