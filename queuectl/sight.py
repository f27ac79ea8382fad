"""The sight: what there is to see of a spool at one moment, for those who look again and again.

Promises
    Looking changes nothing. A large directory is read only when it has changed, and rarely (census).
    Files are read only of jobs that are shown or may have the name that is wanted, and once.
Leaves to others
    counting (census), why a job waits (waiting), when to look (lookout), painting (picture).
Raises
    SpoolMissing and its like when the spool is away; OSError from the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from queuectl import census, disk, filename, liveness, lookup, render, waiting
from queuectl.job import Job
from queuectl.layout import ENDED, Entry
from queuectl.picture import Row, View, Worker
from queuectl.spool import Spool

#: Jobs of each state that are shown, and those whose files are read for a name that contains a text.
SHOWN, NAMED = 100, 1000

#: Jobs whose files are remembered.
REMEMBERED = 10_000

#: Minutes whose ends are shown.
MINUTES = 16

#: The states whose jobs are shown, in their order, and those that are only counted.
LISTED = ("processing", "pending", "blocked", "held", "failed", "dead")
COUNTED = ("rejected", "completed")

#: A directory that takes longer to read is counted so rarely that the number is no longer exact, in seconds.
LONG = 0.1


class First:
    """The names that come first, of as many as there are."""

    def __init__(self, key: Callable[[str], str], most: int, *, newest: bool = False) -> None:
        self._key, self._most, self._newest = key, most, newest
        self._found: list[tuple[str, str]] = []
        self._worst: str | None = None

    def add(self, text: str) -> None:
        """Look at one more."""
        key = self._key(text)
        if self._worst is None or (key > self._worst if self._newest else key < self._worst):
            self._found.append((key, text))
            if len(self._found) >= 4 * self._most:
                self._shorten()

    def _shorten(self) -> None:
        self._found = sorted(self._found, reverse=self._newest)[: self._most]
        if len(self._found) == self._most:
            self._worst = self._found[-1][0]

    def names(self) -> list[str]:
        """They, in their order."""
        self._shorten()
        return [text for _, text in self._found]


class Known(NamedTuple):
    """What a job's file says, as far as it is shown; `job` is None if it cannot be read."""

    job: Job | None
    name: str
    what: str
    why: str


class Sight:
    """Looks at a spool again and again. `wanted`: a text that ids or names must contain."""

    def __init__(self, spool: Spool, wanted: str = "") -> None:
        self._spool, self._observer = spool, liveness.Observer(spool)
        self._ended, self._listed = census.Census(spool), census.Census(spool)
        self._counted = 0.0
        self._now, self.wanted = "", wanted.lower()
        self._first: dict[str, tuple[First, First]] = {}
        self._known: dict[str, Known] = {}
        self.cost = 0.0  # seconds of the last look, without reading large directories: these rest by themselves

    def want(self, wanted: str) -> None:
        """Show only jobs whose id or name contains this."""
        if wanted.lower() != self.wanted:
            self.wanted = wanted.lower()
            self._listed, self._first = census.Census(self._spool), {}

    def look(self) -> View:
        """What there is to see now. The listed jobs come at once, the number of completed ones when it has been counted."""
        spool = self._spool.open()
        now = spool.now()
        self._now = filename.stamp(now)
        self._listed.look(self._keep, LISTED)
        began = time.monotonic()
        view = self._view(spool, now)
        self.cost = time.monotonic() - began
        return view

    def _view(self, spool: Spool, now: float) -> View:
        counts = {**self._listed.jobs(), **{state: self._ended.jobs()[state] for state in COUNTED}}
        took = {**self._listed.took, **self._ended.took}
        rare = [state for state, seconds in took.items() if seconds > LONG]
        ended = self._counted if "completed" in rare else now
        return View(
            spool=spool.path,
            now=now,
            jobs=counts,
            rare=rare,
            scheduled=self._listed.scheduled(),
            oldest=self._listed.oldest(),
            is_paused=spool.is_paused(),
            workers=[
                Worker(w["name"], w["host"] or "?", w["alive"], w["heartbeat_age"], w["job"])
                for w in lookup.workers(spool, self._observer)
            ],
            rows=list(self._rows()),
            minutes=self._minutes(ended),
            part=ended % 60,
        )

    def count(self) -> bool:
        """Count what takes long. Whether there is something new."""
        began = self._spool.now()
        found = self._ended.look(states=COUNTED)
        self._counted = began if "completed" in found else self._counted
        return bool(found)

    # -- jobs

    def _keep(self, state: str) -> census.Keep:
        by_id, others = (self._first_of(state, most) for most in (SHOWN, NAMED))
        self._first[state] = (by_id, others)
        if not self.wanted:
            return lambda _, text: by_id.add(text)
        wanted = self.wanted

        def keep(_: str, text: str) -> None:
            (by_id if wanted in _id(text).lower() else others).add(text)

        return keep

    def _first_of(self, state: str, most: int) -> First:
        now = self._now
        if state == "pending":
            return First(
                lambda text: lookup.next_pending(text, now) if filename.has_shape(text) else "",
                most,
            )
        return First(lambda text: text, most, newest=state == "dead")

    def _rows(self) -> Iterator[Row]:
        settings, reasons = self._spool.settings(), waiting.Reasons(self._spool, self._observer)
        for state in LISTED:
            for entry in self._entries(state):
                if self._listed.took.get(state, 0.0) > LONG and not disk.is_there(
                    self._spool.at(entry.file)
                ):
                    continue  # it has moved on since this large directory was read
                known = self._read(entry)
                most = (known.job.max_retries if known.job else None) or settings.max_retries
                why = known.why or reasons.of(entry, known.job, most) or ""
                name = entry.name
                yield Row(
                    state, name.id, name.time, name.priority, name.attempts, most, entry.file, entry.worker, known.what, why
                )  # fmt: skip

    def _entries(self, state: str) -> list[Entry]:
        if state not in self._first:
            return []
        by_id, others = (first.names() for first in self._first[state])
        found = [entry for text in by_id if (entry := _entry(state, text, self._spool.now()))]
        more = (entry for text in others if (entry := _entry(state, text, self._spool.now())))
        return (found + [entry for entry in more if self.wanted in self._read(entry).name.lower()])[
            :SHOWN
        ]

    def _read(self, entry: Entry) -> Known:
        known = self._known.get(entry.file)
        if known is None:
            job = lookup.read(self._spool, entry.file)
            what = (
                "(cannot be read)"
                if job is None
                else render.short(render.command(job.command), 200)
            )
            name = (job.name if job else None) or ""
            known = Known(job, name, f"{name}: {what}" if name else what, self._reason(entry))
            if job is not None:
                # RACE: what cannot be read has moved on, or is still being written.
                self._remember(
                    entry.file,
                    known._replace(job=job._replace(command="", stdin=None, meta=None, env={})),
                )
        return known

    def _remember(self, file: str, known: Known) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[file] = known

    def _reason(self, entry: Entry) -> str:
        """Why a job has died."""
        run = lookup.last_run(self._spool, entry) if entry.state in ENDED else None
        return str(run.get("reason") or "") if run else ""

    def _minutes(self, now: float) -> list[int]:
        ends = [self._ended.ends()["completed"], self._listed.ends()["dead"]]
        texts = [
            filename.stamp(now - 60 * back)[: census.MINUTE] for back in reversed(range(MINUTES))
        ]
        return [sum(counts.get(text, 0) for counts in ends) for text in texts]


def _id(text: str) -> str:
    return filename.id_of(text.partition("/")[0]) or text


def _entry(state: str, text: str, now: float) -> Entry | None:
    """The job that a name stands for; in a nested state its directory follows behind a slash."""
    text, _, inner = text.partition("/")
    file = f"{state}/{inner}/{text}" if inner else f"{state}/{text}"
    name = filename.decode(text)
    if name is None and state == "pending" and not filename.has_shape(text):
        name = filename.Name(now, 0, 0, text)  # a drop that no worker has admitted yet
    return Entry(state, name, file, inner if state == "processing" else None) if name else None
