"""Mishaps: what happens to the processes and jobs of a chaos run, at random.

Promises
    Each kill, stop and cancellation that hit is counted in `tally`, by kind.
    Who was stopped goes on after a time that is longer than the lease; `thaw` lets all go on at once.
Leaves to others
    finding the processes (fleet), the disk (storm).
Raises
    nothing of queuectl but what is no answer to a cancellation.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterable

from queuectl import Spool, actions
from queuectl.errors import NoSuchJob, WrongState
from tests.chaos.fleet import Fleet
from tests.chaos.producer import Producer

#: Seconds for which somebody is stopped: past the lease of 1.5.
FROZEN = (2.0, 4.0)

#: Kinds of processes, and how often they are chosen.
TARGETS = {
    "workers": 34,
    "commands": 34,
    "flushers and newborn": 6,
    "watches": 5,
    "supervisors": 5,
    "enqueues": 4,
}


class Mishaps:
    """Hits the processes of `fleet` and the jobs of `producer`."""

    def __init__(self, fleet: Fleet, producer: Producer, dice: random.Random) -> None:
        self._fleet, self._producer, self._dice = fleet, producer, dice
        self._spool = Spool(fleet.arena.spool)
        self._frozen: list[tuple[float, int]] = []
        self.tally: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.cancelled: set[str] = set()
        self.asked: set[str] = set()

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return self.tally.total()

    def strike(self) -> None:
        """One mishap."""
        deeds = [(88, self._kill_one), (3, self._kill_family), (1, self._kill_everything)]
        deeds += [(4, self._stop_worker), (2, self._stop_family), (9, self._cancel)]
        [(_, deed)] = self._dice.choices(deeds, [weight for weight, _ in deeds])
        deed()

    # -- kills

    def _kill_one(self) -> None:
        found = {kind: pids for kind, pids in self._fleet.sighted().items() if pids}
        if found:
            [kind] = self._dice.choices(list(found), [TARGETS[kind] for kind in found])
            self._kill({kind: [self._dice.choice(found[kind])]})

    def _kill_family(self) -> None:
        """A supervisor with its workers and its watch, but not their commands."""
        found = self._fleet.sighted()
        if found.get("supervisors"):
            family = set(self._fleet.family(self._dice.choice(found["supervisors"])))
            self._kill(
                {kind: [pid for pid in pids if pid in family] for kind, pids in found.items()}
            )

    def _kill_everything(self) -> None:
        self._kill(self._fleet.sighted())

    def _kill(self, victims: dict[str, list[int]]) -> None:
        for kind, pids in victims.items():
            self.tally[kind] += sum(self._fleet.strike(pid, signal.SIGKILL) for pid in pids)

    # -- stops

    def _stop_worker(self) -> None:
        workers = self._fleet.sighted().get("workers")
        if workers:
            self._stop("a worker", [self._dice.choice(workers)])

    def _stop_family(self) -> None:
        supervisors = self._fleet.sighted().get("supervisors")
        if supervisors:
            self._stop("a whole supervisor", self._fleet.family(self._dice.choice(supervisors)))

    def _stop(self, kind: str, pids: Iterable[int]) -> None:
        until = time.monotonic() + self._dice.uniform(*FROZEN)
        hit = [(until, pid) for pid in pids if self._fleet.strike(pid, signal.SIGSTOP)]
        self._frozen += hit
        self.stops[kind] += bool(hit)

    def thaw(self, *, all: bool = False) -> None:
        """Let those go on whose time is over."""
        due = [pid for at, pid in self._frozen if all or at <= time.monotonic()]
        self._frozen = [(at, pid) for at, pid in self._frozen if pid not in due]
        for pid in due:
            self._fleet.strike(pid, signal.SIGCONT)

    # -- cancellations

    def _cancel(self) -> None:
        """Cancel one of the newest jobs: it may wait, run or have ended."""
        ids = list(self._producer.accepted)[-60:]
        if not ids:
            return
        id = self._dice.choice(ids)
        try:
            answer = actions.cancel(self._spool, id)
        except (NoSuchJob, WrongState, OSError):
            return  # ended, a drop that nobody has admitted yet, or no room for the request
        (self.cancelled if answer == "cancelled" else self.asked).add(id)
