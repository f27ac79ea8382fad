"""The gate: what a claimed job must pass before it runs, and what it gives up afterwards.

Promises
    A job that may not run now is parked, or buried if it never may, and its attempt does not count.
    What it took to pass (a token of its limit) is given back by `leave`, or by the rescue of its worker.
    Those that waited for its token are woken at once, those that waited for its end when `tell` returns.
Leaves to others
    tokens (limits), parking and waking (blocked), keys (unique), running (worker).
Raises
    OSError from the disk; Locked.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from queuectl import blocked, hooks, host, limits, results, unique, units
from queuectl.errors import Locked
from queuectl.job import Job
from queuectl.layout import ENDED
from queuectl.recovery import blank
from queuectl.spool import Claim, Spool

Passage = Literal["open", "blocked", "buried", "lost"]


class Gate:
    """The gate of one worker, for one job after the other."""

    def __init__(self, spool: Spool, worker: str) -> None:
        self._spool, self._worker = spool, worker
        self._limit = ""
        self.why = ""
        self._untold: list[str] = []
        self._is_waited = True

    def enter(self, claim: Claim, job: Job) -> Passage:
        """Let the job pass ("open"), or move it to where it waits, or to dead/; `why` then says the reason."""
        block = blocked.by_others(self._spool, job) if job.predecessors else None
        if block is None and job.limit:
            if limits.take(self._spool, job.limit, self._worker):
                self._limit = job.limit
            else:
                block = blocked.Block(blocked.LIMIT + job.limit)
        if block is None:
            return "open"
        if not block.key:
            return self._bury(claim, job, block.reason)
        self.why = blocked.waits_for(f"{block.key}/")
        if not blocked.park(self._spool, claim, job, block.key):
            return "lost"
        # RACE: what it waits for may have come between our look and the move.
        if most := blocked.is_open(self._spool, block.key):
            blocked.wake(self._spool, block.key, most)
        return "blocked"

    def _bury(self, claim: Claim, job: Job, why: str) -> Passage:
        """What can never run is dead; the attempt does not count."""
        now = self._spool.now()
        name = claim.name._replace(attempts=max(0, claim.name.attempts - 1))
        target = self._spool.target(claim._replace(name=name), "dead", now)
        fields = {
            "started_at": None,
            "finished_at": units.iso(now),
            "outcome": "cancelled",
            "reason": why,
        }
        results.append(
            self._spool.at("results"),
            name.id,
            blank(claim, target) | fields | {"host": host.place().host},
        )
        # CRASH: dying here leaves a record whose move the rescue will make.
        self.why = why
        hooks.note(self._spool, target, job.batch)
        if not self._spool.file(claim, target):
            return "lost"
        self._spool.note("dead", name.id, state="dead", reason=why)
        self.ended(claim.name.id, job, "dead")
        self.tell()
        return "buried"

    def leave(self) -> None:
        """Give back the token of the job that has left this worker, and wake who waits for one."""
        if self._limit:
            for name in [
                name for name in self._spool.held_by(self._worker) if name.endswith(limits.TOKEN)
            ]:
                limits.give_back(self._spool, self._worker, name)
            blocked.offer(self._spool, self._limit)
            self._limit = ""  # at last: whoever failed in between leaves again

    def ended(self, id: str, job: Job, state: str) -> None:
        """The job `id` has come into this state: if it has ended, others may go on, now or after the next `tell`."""
        if state in ENDED:
            if job.unique:
                with suppress(Locked):  # the key is void anyway: whoever wants it looks at this job
                    unique.let_go(self._spool, job.unique, id)
            if self._is_waited:
                blocked.ended(self._spool, id)
            else:
                self._untold.append(id)

    def tell(self) -> None:
        """Look whether anybody waits for jobs: one look for all that have ended since the last one, while nobody does."""
        if self._untold or self._is_waited:
            # RACE: who began to wait since the last look has looked once more itself, or is seen now.
            self._is_waited = next(self._spool.names("blocked"), None) is not None
            if self._is_waited:
                for id in self._untold:
                    blocked.ended(self._spool, id)
            self._untold = []
