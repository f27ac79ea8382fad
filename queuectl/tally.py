"""The tally of a set of jobs: how many have completed, died, or are still to come.

Promises
    A look lists names: those of the jobs that have not ended, and those of ended ones only when
    some of ours are no longer among the others. It is no search for each job.
    A batch is followed as it grows. What is nowhere in two looks is gone; what was never seen
    anywhere is not counted: it was removed, or is on its way.
Leaves to others
    how often to look, and showing it (actions, cli).
Raises
    NoSuchBatch; OSError from the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from queuectl import batches, disk, ids, lookup, results, units
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
    """How many of the jobs are where; those that are `gone` are nowhere: removed, or never quite enqueued.

    `left` have been seen and have not ended.
    """

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
        self._unseen: set[str] = set()
        self._gone: set[str] = set()
        self._version: object = None
        self._trusted: set[str] = set()
        self._missing: set[str] = set()
        self._count = dict.fromkeys(ENDED, 0)

    def look(self) -> Count:
        """How far they are now."""
        # RACE: asked before the look, which then sees what has arrived.
        is_coming = self._grow()
        alive = {id for id, _ in self._seen(ALIVE, self._left)}
        doubtful = self._left.keys() - alive
        ended = dict(self._ended(doubtful)) if doubtful else {}
        nowhere = set() if is_coming else doubtful - ended.keys()
        # RACE: a job that moved while we looked was seen nowhere; the next look will see it.
        gone = nowhere & self._missing
        for id in (*ended, *gone):
            del self._left[id]
        for state in ended.values():
            self._count[state] += 1
        self._gone |= gone
        self._missing = nowhere
        self._unseen &= self._left.keys() - alive
        left = len(self._left) - len(self._unseen)
        return Count(**self._count, gone=len(self._gone), left=left)

    @property
    def is_over(self) -> bool:
        """Whether all of them have ended or are gone, and none is on its way."""
        return not self._left

    def span(self) -> float:
        """Seconds from the first start of one of them to the last end, by their records; to now if some have not ended."""
        directory, begun, ended = self._spool.at("results"), list[float](), list[float]()
        for id in self._known - self._gone:
            runs = results.read(directory, id)
            begun += _times(run.get("started_at") for run in runs)
            ended += _times(run.get("finished_at") for run in runs)
        if self._left:
            running = self._spool.entries("processing", among=self._left)
            begun += [entry.name.time for entry in running]
            ended.append(self._spool.now())
        return max(0.0, max(ended) - min(begun)) if begun and ended else 0.0

    def _grow(self) -> bool:
        """Take in what has been added to the batch. Whether some of that may be on its way into the queue."""
        if self._batch is None:
            return False
        path = self._spool.at("batches", self._batch)
        version = disk.version(path)
        if version is None or version != self._version:
            found = batches.members(self._spool, self._batch)
            fresh = found.keys() - self._known
            self._left |= dict.fromkeys(fresh)
            self._unseen |= fresh
            self._known |= fresh
            self._version = version
        is_young = self._spool.age(path) < NEWBORN
        return is_young and batches.is_coming(self._spool, self._batch)

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


def _times(texts: Iterable[Any]) -> Iterator[float]:
    """The times that these say; what is none, in the record of another program, is left out."""
    for text in texts:
        with suppress(ValueError, TypeError, AttributeError):
            yield units.instant(text)


def wait(tally: Tally, timeout: float | None, told: Callable[[Count], None]) -> tuple[Count, bool]:
    """Wait until none of them is left; `told` hears how far they are. The last count, and whether they ended in time."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = PAUSE
    while True:
        started = time.monotonic()
        count = tally.look()
        told(count)
        now = time.monotonic()
        if tally.is_over or (deadline is not None and now >= deadline):
            return count, tally.is_over
        pause = min(CALM, pause * 1.2)
        longer = min(LONGEST, max(pause, SHARE * (now - started)))
        time.sleep(longer if deadline is None else max(0.0, min(longer, deadline - now)))
