"""The tally of a set of jobs: how many have completed, died, or are still to come.

Promises
    A look lists names: those of the jobs that have not ended, and those of ended ones only when
    some of ours are no longer among the others. It is no search for each job.
    A batch is followed as it grows. What is nowhere in two looks is gone.
Leaves to others
    how often to look, and showing it (actions, cli).
Raises
    NoSuchBatch; OSError from the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from queuectl import batches, disk, ids, lookup
from queuectl.filename import id_of
from queuectl.layout import ENDED, STATES
from queuectl.spool import Spool

#: Jobs whose end is looked for one by one, by their records, before ended jobs are listed.
FEW = 100

#: Seconds between two looks, at first and after a while.
PAUSE, CALM = 0.05, 0.25

#: A look at a large spool takes long: how many times as long the pause is then, and its most seconds.
SHARE, LONGEST = 10, 5.0

#: Seconds that an enqueue may take from the list of its batch to the queue.
NEWBORN = 15.0

#: The states of jobs that have not ended.
ALIVE = tuple(state for state in STATES if state not in ENDED)


class Count(NamedTuple):
    """How many of the jobs are where; those that are `gone` are nowhere: removed, or never quite enqueued."""

    completed: int = 0
    dead: int = 0
    gone: int = 0
    left: int = 0

    @property
    def total(self) -> int:
        """All that are here, or were when they ended."""
        return self.completed + self.dead + self.left


class Tally:
    """The jobs with these ids, or those of a batch."""

    def __init__(self, spool: Spool, ids: Iterable[str] = (), batch: str | None = None) -> None:
        self._spool, self._batch = spool, batch
        self._left = dict.fromkeys(ids)
        self._known = set(self._left)
        self._version: object = None
        self._trusted: set[str] = set()
        self._missing: set[str] = set()
        self._count = dict.fromkeys(("completed", "dead", "gone"), 0)

    def look(self) -> Count:
        """How far they are now."""
        is_young = self._grow()
        doubtful = self._left.keys() - {id for id, _ in self._seen(ALIVE, self._left)}
        ended = dict(self._ended(doubtful)) if doubtful else {}
        nowhere = doubtful - ended.keys()
        # RACE: a job that moved while we looked was seen nowhere; the next look will see it.
        gone = set() if is_young else nowhere & self._missing
        for id, state in [*ended.items(), *((id, "gone") for id in gone)]:
            del self._left[id]
            self._count[state] += 1
        self._missing = nowhere
        return Count(**self._count, left=len(self._left))

    def _grow(self) -> bool:
        """Take in what has been added to the batch. Whether that may still be on its way into the queue."""
        if self._batch is None:
            return False
        path = self._spool.at("batches", self._batch)
        version = disk.version(path)
        if version is None or version != self._version:
            found = batches.members(self._spool, self._batch)
            self._left |= dict.fromkeys(id for id in found if id not in self._known)
            self._known |= found.keys()
            self._version = version
        return self._spool.now() - (disk.modified(path) or 0.0) < NEWBORN

    def _seen(self, states: Iterable[str], wanted: Container[str]) -> Iterator[tuple[str, str]]:
        """(id, state) for each of these jobs that is in one of these states."""
        for state in states:
            for place in self._spool.places(state):
                for text in self._spool.names(place):
                    if (id := id_of(text)) in wanted and self._belongs(id, f"{place}/{text}"):
                        yield id, state

    def _ended(self, wanted: set[str]) -> Iterator[tuple[str, str]]:
        """(id, state) for each of these that has ended."""
        found = set()
        for id in wanted if len(wanted) <= FEW else ():
            entry = lookup.at_last_record(self._spool, id)
            if entry and entry.state in ENDED and self._belongs(id, entry.file):
                found.add(id)
                yield id, entry.state
        if len(found) < len(wanted):
            yield from self._seen(ENDED, wanted - found)

    def _belongs(self, id: str, file: str) -> bool:
        """Whether the job in this file is the one that was meant: an id that a caller chose may have come again for another."""
        if self._batch is None or id in self._trusted or ids.is_ours(id):
            return True
        job = lookup.read(self._spool, file)
        if job is not None and job.batch != self._batch:
            return False
        self._trusted.add(id)
        return True


def wait(tally: Tally, timeout: float | None, told: Callable[[Count], None]) -> tuple[Count, bool]:
    """Wait until none of them is left; `told` hears how far they are. The last count, and whether they ended in time."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = PAUSE
    while True:
        started = time.monotonic()
        count = tally.look()
        told(count)
        now = time.monotonic()
        if not count.left or (deadline is not None and now >= deadline):
            return count, not count.left
        pause = min(CALM, pause * 1.2)
        longer = min(LONGEST, max(pause, SHARE * (now - started)))
        time.sleep(longer if deadline is None else max(0.0, min(longer, deadline - now)))
