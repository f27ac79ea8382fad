"""The queue: names in, hand-outs out. What runs next, and when to look again.

Pure: it is given listings and the time. It never opens a file, because a name says all
it must know. It keeps a window of the best names, not the whole backlog.

Promises
    The higher priority comes first, then what has been due for longest.
    Retries that are due take at most every second place while fresh jobs of their
    priority wait.
    What is not due is never handed out.
Leaves to others
    whose the job is in the end (the rename in spool).
Raises
    nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from itertools import islice, takewhile

from queuectl.filename import STAMP, decode, has_shape, is_drop, stamp

#: The fewest and the most names that a queue holds ready at a time.
SMALLEST, LARGEST = 5000, 100_000

#: Names that stay together, and how many of them are mixed, when several supervisors share a spool.
BLOCK, MIXED = 32, 1024

#: Seconds that a drop which cannot be read stays until it counts as broken for good.
GRACE = 5.0

#: Seconds until another look at a drop that could not be read.
DROP_PAUSE = 1.0


_RANKS = {str(priority): str(9 - priority) for priority in range(10)}


def rank(name: str) -> str:
    """A text that sorts like the order in which jobs run."""
    return _RANKS[name[25]] + name


class Queue:
    """What may run now, best last, so that taking is cheap.

    `next_due`: the time in the name of the next that may not; `is_whole`: nothing that may run was left out.
    """

    def __init__(self) -> None:
        self.fresh: list[str] = []
        self.retries: list[str] = []
        self.drops: list[str] = []
        self.next_due, self.seen, self.is_whole = "", 0, True
        self._last_was_retry = False

    def __len__(self) -> int:
        return len(self.fresh) + len(self.retries)

    def fill(
        self,
        pending: Iterable[str],
        failed: Iterable[str],
        now: float,
        *,
        without: set[str],
        shared: bool = False,
    ) -> None:
        """Forget everything and read two listings; names in `without` are in somebody's hands already.

        With `shared` the order is loosened so that several supervisors do not want the same name first.
        """
        size = min(LARGEST, max(SMALLEST, self.seen // 8))
        self.next_due, self.drops, self.seen, self.is_whole = "", [], 0, True
        limit = stamp(now)
        self.fresh = self._best(pending, "pending/", limit, size, without, self.drops)
        self.retries = self._best(failed, "failed/", limit, size, without, None)
        if shared:
            self.fresh, self.retries = mix(self.fresh), mix(self.retries)

    def _best(
        self,
        names: Iterable[str],
        prefix: str,
        limit: str,
        size: int,
        without: set[str],
        drops: list[str] | None,
    ) -> list[str]:
        best: list[str] = []
        seen, worst, later = 0, "~", limit + "~"  # "~" comes after all that a name can hold there
        for name in names:
            if name[22:25] != "Z-p":
                if drops is not None and is_drop(name):
                    drops.append(name)
                continue
            seen += 1
            key = _RANKS.get(name[25:26], "") + name
            if name < later and worst < key:
                continue  # of a million names most end here
            if not has_shape(name):
                self._set_aside(name, drops)
            elif name > later:
                if not self._note_due(name):
                    self._set_aside(name, drops)
            elif prefix + name not in without:
                best.append(key)
                if len(best) >= 2 * size:
                    best.sort()
                    del best[size:]
                    worst = best[-1]
        self.seen += seen
        self.is_whole = self.is_whole and worst == "~" and len(best) <= size
        return sorted(best, reverse=True)[-size:]

    @staticmethod
    def _set_aside(name: str, drops: list[str] | None) -> None:
        """Admission says what is wrong with a name that only resembles ours."""
        if drops is not None and is_drop(name):
            drops.append(name)

    def _note_due(self, name: str) -> bool:
        """Remember when a job becomes due if it is the next. False: at no time that there is."""
        if self.next_due and name[:STAMP] >= self.next_due:
            return True
        if decode(name) is None:
            return False
        self.next_due = name[:STAMP]
        return True

    def add(self, file: str, now: float) -> None:
        """A job has come into pending/, or a worker gives a name back."""
        state, _, name = file.partition("/")
        if name[:STAMP] > stamp(now):
            self._note_due(name)
            return
        names, key = self.fresh if state == "pending" else self.retries, rank(name)
        at = bisect_left(names, _Reversed(key), key=_Reversed)
        if names[at : at + 1] != [key]:
            names.insert(at, key)

    def take(self, count: int) -> list[str]:
        """The next `count` files to run, or as many as there are."""
        return [self._next() for _ in range(min(count, len(self)))]

    def _next(self) -> str:
        retry = bool(self.retries) and (not self.fresh or self.retries[-1] < self.fresh[-1])
        if (
            retry
            and self._last_was_retry
            and self.fresh
            and self.fresh[-1][0] == self.retries[-1][0]
        ):
            retry = False
        self._last_was_retry = retry
        return "failed/" + self.retries.pop()[1:] if retry else "pending/" + self.fresh.pop()[1:]


class _Reversed(str):
    """A text that sorts the other way round."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def mix(ranked: list[str]) -> list[str]:
    """Put blocks of names of one priority in random order, a thousand names at a time."""
    mixed: list[str] = []
    for start in range(0, len(ranked), MIXED):
        part = ranked[start : start + MIXED]
        blocks = [part[i : i + BLOCK] for i in range(0, len(part), BLOCK)]
        import random  # one supervisor alone needs no dice

        random.shuffle(blocks)
        mixed += [name for block in blocks for name in block]
    return sorted(mixed, key=lambda name: name[0], reverse=True)


class Drops:
    """The drops that wait for admission, and when to look at each; times by a clock that never jumps."""

    def __init__(self) -> None:
        self._now: dict[str, None] = {}
        self._later: dict[str, float] = {}
        self._broken: dict[str, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._now) + len(self._later)

    def update(self, names: list[str], *, rang: bool, held: AbstractSet[str] = frozenset()) -> None:
        """What a listing showed; those in `held` are in the hands of workers.

        With `rang` somebody wrote: look at all of them again.
        """
        free = {name: None for name in names if name not in held}
        later = {} if rang else self._later
        self._later = {name: at for name, at in later.items() if name in free}
        self._now = {name: None for name in free if name not in self._later}
        # The grace of one that a worker looks at just now goes on.
        self._broken = {name: self._broken[name] for name in names if name in self._broken}

    def take(self, count: int, now: float) -> list[tuple[str, str]]:
        """At most `count` (verb, name) for workers: drops to admit, or to settle because their grace is over."""
        for name, _ in list(takewhile(lambda item: item[1] <= now, self._later.items())):
            del self._later[name]
            self._now[name] = None
        names = list(islice(self._now, count))
        for name in names:
            del self._now[name]
        return [(self._verb(name, now), name) for name in names]

    def has_work(self, now: float) -> bool:
        """Whether `take` would answer something."""
        look = self.next_look()
        return bool(self._now) or (look is not None and look <= now)

    def _verb(self, name: str, now: float) -> str:
        _, since = self._broken.get(name, ("", now))
        return "settle" if now - since >= GRACE else "admit"

    def broken(self, name: str, mark: str, now: float) -> None:
        """A worker could not read a drop. As long as its mark changes, somebody is writing it."""
        old, since = self._broken.get(name, ("", now))
        self._broken[name] = (mark, since if mark == old else now)
        self._now.pop(name, None)
        self._later.pop(name, None)  # the first of them is the next to be looked at
        self._later[name] = now + DROP_PAUSE

    def left(self, name: str) -> None:
        """A worker had no time for a drop that it was given."""
        if name not in self._later:
            self._now[name] = None

    def next_look(self) -> float | None:
        """When to look at the next drop that could not be read."""
        return next(iter(self._later.values()), None)
