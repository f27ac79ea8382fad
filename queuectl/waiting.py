"""Why a job waits, in words for people.

Leaves to others
    letting it go on (dealer, blocked), printing (cli).
Raises
    OSError from the disk.
"""

from __future__ import annotations

from queuectl import blocked, disk, limits, liveness, units
from queuectl.job import Job
from queuectl.layout import Entry
from queuectl.spool import Spool


class Reasons:
    """Answers for many jobs of one spool; what they have in common is looked up once.

    `observer`: somebody who has judged for a while who is alive.
    """

    def __init__(self, spool: Spool, observer: liveness.Observer | None = None) -> None:
        self._spool, self._now = spool, spool.now()
        self._observer = observer or liveness.Observer(spool)
        self._common: str | None = None

    def of(self, entry: Entry, job: Job | None, max_retries: int) -> str | None:
        """Why this job does not run; None: it runs, has ended, or is among the next."""
        if entry.state == "held":
            return "held"
        if entry.state == "blocked":
            return blocked.waits_for(entry.file)
        if entry.state not in ("pending", "failed"):
            return None
        if entry.name.time > self._now:
            attempt = (
                f" (attempt {entry.name.attempts + 1} of {max_retries})"
                if entry.name.attempts
                else ""
            )
            return f"due in {units.ago(entry.name.time - self._now)}{attempt}"
        return self._of_all() or self._of_others(job)

    def _of_all(self) -> str:
        """What keeps every job from running."""
        if self._common is None:
            self._common = (
                "paused"
                if self._spool.is_paused()
                else ""
                if self._has_workers()
                else "no worker is alive"
            )
        return self._common

    def _has_workers(self) -> bool:
        return any(
            who and self._observer.is_alive(name, who)
            for name, who in liveness.records(self._spool)
        )

    def _of_others(self, job: Job | None) -> str | None:
        block = blocked.by_others(self._spool, job) if job and job.predecessors else None
        if block:
            return block.reason or blocked.waits_for(f"{block.key}/")
        if (
            job
            and job.limit
            and disk.is_there(self._spool.at("limits", job.limit))
            and not limits.free(self._spool, job.limit)
        ):
            return blocked.waits_for(f"{blocked.LIMIT}{job.limit}/")
        return None
