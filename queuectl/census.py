"""The census: how many jobs are where, what waits longest, and what ended when; from names alone.

A census is kept by a program that looks again and again. A directory is read only when it
has changed and when that is cheap enough: of a million names it takes a second or more.

Promises
    Nothing is kept for each job. What ended is counted by the minute, for a day.
    Run times are those of a sample, at most SAMPLE of each minute, as their records say.
Leaves to others
    the jobs themselves (lookup), drawing (dashboard), names of metrics (metrics).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from queuectl import disk, lookup
from queuectl.filename import STAMP, decode, has_shape, stamp, unstamp
from queuectl.layout import ENDED, NESTED, STATES, Entry
from queuectl.spool import Spool

#: Seconds between two looks at one directory; it rests at least SHARE times as long as the last look took.
REST, SHARE = 0.5, 20

#: Runs of each minute whose time is looked up.
SAMPLE = 4

#: Seconds for which ends are counted, and characters of a name that say its minute.
DAY, MINUTE = 86400, 13

#: Seconds by which a directory's time must be older than a look that others rely on.
SETTLED = 2.05

#: What is counted, the largest last.
ORDER = ("processing", "held", "blocked", "rejected", "failed", "dead", "pending", "completed")

#: Hears of a state and of a name in it; in a nested one the directory follows the name, behind a slash.
Keep = Callable[[str, str], None]


class Minute:
    """What ended in one minute in one state: how many, and the names of some."""

    __slots__ = ("count", "names")

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []


class Seen(NamedTuple):
    """What a look at one directory has shown. `until`: when names that were not due yet become so."""

    total: int = 0
    scheduled: int = 0
    oldest: str = ""
    until: str = ""
    minutes: Mapping[str, Minute] = {}


class Census:
    """Counts the jobs of one spool."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.trusts_times = not spool.is_shared
        self.seen: dict[str, Seen] = {}
        self.took: dict[str, float] = {}
        self._versions: dict[str, object] = {}
        self._looked: dict[str, float] = {}
        self._durations: dict[str, float | None] = {}

    def look(
        self, keep: Callable[[str], Keep | None] = lambda _: None, states: Iterable[str] = ORDER
    ) -> list[str]:
        """Read those directories for which it is time; the states that have changed. `keep(state)` may want the names of that one."""
        return [
            state for state in states if self._is_time(state) and self._read(state, keep(state))
        ]

    def _is_time(self, state: str) -> bool:
        if time.monotonic() - self._looked.get(state, -1e9) < max(
            REST, SHARE * self.took.get(state, 0.0)
        ):
            return False
        until = self.seen[state].until if state in self.seen else ""
        return self._version(state) != self._versions.get(state) or bool(
            until and stamp(self.spool.now()) >= until
        )

    def _version(self, state: str) -> object:
        """What changes with the directory; an object unlike all others where that cannot be relied on."""
        paths = [state]
        if state in NESTED:
            paths += [f"{state}/{inner}" for inner in self.spool.directories(state)]
        versions = [disk.version(self.spool.at(path)) for path in paths]
        youngest = max((version[1] for version in versions if version), default=0)
        settled = time.time() - youngest / 1e9 > SETTLED
        return tuple(versions) if self.trusts_times and settled else object()

    def _read(self, state: str, keep: Keep | None) -> bool:
        began = time.monotonic()
        version = self._version(state)
        names = self._names(state)
        if keep:
            names = _told(names, state, keep)
        if state in ENDED:
            seen = _ended(names, stamp(max(0.0, self.spool.now() - DAY)))
        elif state in ("pending", "failed"):
            seen = _waiting(names, stamp(self.spool.now()))
        else:
            seen = Seen(sum(1 for _ in names))
        old = self.seen.get(state)
        self.seen[state], self._versions[state] = seen, version
        self._looked[state] = time.monotonic()
        self.took[state] = self._looked[state] - began
        # Minutes are not compared: whatever ends changes them and the directory.
        return old is None or seen[:4] != old[:4] or bool(seen.minutes)

    def _names(self, state: str) -> Iterator[str]:
        """The names in a state that are jobs or drops; or drops that were set aside."""
        if state == "rejected":
            return (
                text for text in disk.scan(self.spool.at(state)) if not text.endswith(".reason")
            )
        if state in NESTED:
            inner = self.spool.directories(state)
            return (
                f"{text}/{at}"
                for at in inner
                for text in self.spool.names(f"{state}/{at}")
                if text[-5:] == ".json" and text[0] != "."
            )
        return (text for text in self.spool.names(state) if text[-5:] == ".json" and text[0] != ".")

    # -- what it has shown

    def jobs(self) -> dict[str, int | None]:
        """How many are in each state; None before the first look."""
        return {
            state: self.seen[state].total if state in self.seen else None
            for state in (*STATES, "rejected")
        }

    def scheduled(self) -> int:
        """How many wait for their time."""
        return sum(seen.scheduled for seen in self.seen.values())

    def oldest(self) -> float | None:
        """Since when the job waits that has been ready for longest; None if none is."""
        found = min((seen.oldest for seen in self.seen.values() if seen.oldest), default="")
        return unstamp(found) if found else None

    def ends(self) -> dict[str, dict[str, int]]:
        """How many jobs ended in each minute of the last day, by state and by the first characters of a name."""
        return {
            state: {
                text: minute.count for text, minute in self.seen.get(state, Seen()).minutes.items()
            }
            for state in ENDED
        }

    def durations(self) -> dict[str, list[float]]:
        """Seconds that runs took which ended in each minute: a sample."""
        names = {
            (state, text)
            for state in ENDED
            for minute in self.seen.get(state, Seen()).minutes.values()
            for text in minute.names
        }
        self._durations = {text: self._duration(state, text) for state, text in names}
        found: dict[str, list[float]] = {}
        for text, took in self._durations.items():
            if took is not None:
                found.setdefault(text[:MINUTE], []).append(took)
        return found

    def _duration(self, state: str, text: str) -> float | None:
        if text in self._durations:
            return self._durations[text]
        name = decode(text)
        run = lookup.last_run(self.spool, Entry(state, name, f"{state}/{text}")) if name else None
        took = run.get("duration") if run else None
        return float(took) if isinstance(took, int | float) else None

    def report(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; the oldest as seconds since 1970."""
        return {
            "jobs": self.jobs(),
            "scheduled": self.scheduled(),
            "oldest": self.oldest(),
            "ends": self.ends(),
            "durations": self.durations(),
            "took": self.took,
            "at": self.spool.now(),
        }


def _told(names: Iterator[str], state: str, keep: Keep) -> Iterator[str]:
    for text in names:
        keep(state, text)
        yield text


def _ended(names: Iterator[str], since: str) -> Seen:
    count = 0
    minutes: dict[str, Minute] = {}
    for text in names:
        count += 1
        if text > since and text[8:9] == "T":
            minute = minutes.get(text[:MINUTE])
            if minute is None:
                minute = minutes[text[:MINUTE]] = Minute()
            minute.count += 1
            if len(minute.names) < SAMPLE:
                minute.names.append(text)
    return Seen(count, minutes=minutes)


def _waiting(names: Iterator[str], now: str) -> Seen:
    count, scheduled, oldest, until = 0, 0, "", ""
    for text in names:
        count += 1
        if not has_shape(text):
            continue  # a drop: ready, but since when only its contents say
        due = text[:STAMP]
        if due > now:
            scheduled += 1
            until = due if not until or due < until else until
        elif not oldest or due < oldest:
            oldest = due
    return Seen(count, scheduled, oldest, until)
