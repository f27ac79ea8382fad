"""The ticker: makes the ticks of all schedules into jobs, as a chore of every supervisor.

There is no leader. The id of a job says of which schedule and of which tick it is, and one id is one
job: of all supervisors that find a tick due, on whatever host, one creates it.

Promises
    Each tick is one job at most, also when a supervisor dies in the middle: what is remembered comes after the job,
    and until then the id is taken.
    A schedule that cannot tick is told once, and the others go on.
    No look takes long: of many ticks some are created, and the others at the next looks.
Leaves to others
    which ticks (schedule), the files (timetable), the loop (supervisor).
Raises
    OSError when the directory cannot be read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from queuectl import disk, timetable, units
from queuectl import schedule as rules
from queuectl.errors import IdTaken, KeyTaken, complaint
from queuectl.log import Log
from queuectl.schedule import Schedule
from queuectl.spool import Spool
from queuectl.timetable import ACTIVE, Kept

#: The most jobs of one schedule that one look creates.
BATCH = 50

#: Seconds until another look at a tick that somebody else is creating, at first and at most.
PATIENCE, LONGEST_PATIENCE = 1.0, 60.0


class Ticker:
    """Ticks for a spool. `moved` hears that a job has come into it; `wakes_at` is when to look next, by the monotonic clock."""

    def __init__(
        self, spool: Spool, log: Log, warn: Callable[[str], None], moved: Callable[[], None]
    ) -> None:
        self._spool, self._log, self._warn, self._moved = spool, log, warn, moved
        self._known: dict[str, tuple[object, Schedule]] = {}
        self._told: dict[str, str] = {}
        self._met: dict[str, tuple[int, int]] = {}
        self.wakes_at = -math.inf

    def hurry(self) -> None:
        """Look soon: there may be other schedules than before."""
        self.wakes_at = -math.inf

    def tick(self) -> None:
        """Look at all schedules, and create the jobs that are due."""
        self.wakes_at = math.inf  # should it fail: until somebody says hurry
        found = [kept for kept in timetable.files(self._spool) if kept.end == ACTIVE]
        names = {kept.name for kept in found}
        for kept in found:
            at = self._look(kept)
            if at is not None:
                self.wakes_at = min(self.wakes_at, time.monotonic() + at - self._spool.now())
        self._known = {name: known for name, known in self._known.items() if name in names}
        self._told = {name: told for name, told in self._told.items() if name in names}

    def _look(self, kept: Kept) -> float | None:
        """Deal with one schedule: when it wants to be looked at again; None: not before somebody says hurry."""
        try:
            at = self._advance(kept.name, self._read(kept))
        except FileNotFoundError:
            return None  # RACE: it was paused or removed meanwhile
        except Exception as error:  # whatever it is, the other schedules tick
            why = complaint(error)
            if self._told.get(kept.name) != why:
                self._told[kept.name] = why
                self._warn(f"schedule {kept.name}: {why}")
            return None
        self._told.pop(kept.name, None)
        return at

    def _read(self, kept: Kept) -> Schedule:
        """What its file says; read again only if it is another file by now, since nobody changes one."""
        version = disk.version(self._spool.at(kept.file))
        known = self._known.get(kept.name)
        if known is not None and known[0] == version:
            return known[1]
        found = timetable.read(self._spool, kept)
        self._known[kept.name] = (version, found)
        return found

    def _advance(self, name: str, schedule: Schedule) -> float | None:
        now, last = self._spool.now(), timetable.since(self._spool, name, schedule)
        if last > now + timetable.AHEAD:
            self._warn(
                f"schedule {name}: its last tick is {units.ago(last - now)} ahead of the clock; it begins anew"
            )
            timetable.begin_anew(self._spool, name)
            last = int(now)
        schedule = schedule.made_by(last)
        due = rules.due(schedule, last, now)
        if due.missed is not None:
            self._log.event(
                "missed", schedule=name, catch_up=schedule.catch_up, made_up=len(due.ticks)
            )
            timetable.remember(self._spool, name, due.missed)
        for tick in due.ticks[:BATCH]:
            # RACE: another supervisor may be ahead of us.
            if (timetable.last(self._spool, name) or 0) < tick and not self._create(
                name, schedule, tick
            ):
                return now + min(LONGEST_PATIENCE, PATIENCE * 2.0 ** min(self._met[name][1] - 1, 6))
        self._met.pop(name, None)
        return now if len(due.ticks) > BATCH else rules.following(schedule, max(last, int(now)))

    def _create(self, name: str, schedule: Schedule, tick: int) -> bool:
        """Make a tick a job, and remember it. False: somebody else seems to be doing it right now."""
        known = timetable.memory(self._spool, name)
        job = schedule.job_at(name, tick, known.turn if known else 1)
        met, times = self._met.get(name, (tick, 0))
        times = times + 1 if met == tick else 1
        self._met[name] = (tick, times)
        # RACE: whoever holds the id will remember the tick soon. Who has died meanwhile will not: so this is asked once only.
        if times == 1 and self._spool.is_taken(str(job.id)):
            return False
        try:
            self._spool.enqueue(job)
        except IdTaken as error:
            if error.state is None:
                # RACE: on another host somebody is between the id and the job; or has died there, until the sweep frees the id.
                return False
        except KeyTaken as error:
            # What is unique comes once at a time: while the last one runs there is no other.
            self._log.event(
                "skipped", schedule=name, tick=str(job.id), unique=error.key, holder=error.holder
            )
        else:
            self._log.event("ticked", job=job.id, schedule=name)
            self._moved()
        # CRASH: dying here leaves a job whose tick nobody remembers: its id says that it was there, until it is removed.
        timetable.remember(self._spool, name, tick)
        return True
