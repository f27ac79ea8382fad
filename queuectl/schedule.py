"""A schedule: when jobs of one kind are due, again and again. Pure.

A schedule is one JSON object: `cron` or `every`, a `zone` for the first, `catch_up`, and the
`job` that each tick becomes. A tick is a whole second since 1970 in UTC.

Promises
    parse accepts exactly the documented fields; parse(schedule.to_bytes()) is the same schedule.
    `ticks` is one set of seconds: where one begins to look changes nothing of what comes later.
Leaves to others
    what cron's expressions mean (cron), files (timetable), creating jobs (ticker).
Raises
    InvalidSchedule.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from queuectl import cron, units
from queuectl.errors import InvalidJob, InvalidSchedule
from queuectl.filename import is_id, stamp
from queuectl.job import Job, from_dict
from queuectl.strict import kind, load, unknown

#: What becomes of ticks that were missed.
CATCH_UPS = ("none", "one", "all")

#: Seconds after which a tick that is no job yet counts as missed: supervisors are restarted, and machines are busy.
GRACE = 60

#: The most ticks that are made up.
MOST = 1000

#: Characters that a name may have: with "-20261122T101500Z" it must be an id.
LONGEST_NAME = 111

#: Fields that a job gets by its tick.
TICKS_OWN = ("id", "run_at", "delay", "created_at", "submitted_by")


class Schedule(NamedTuple):
    """When, and what. Either `cron`, in `zone`, or `every` so many seconds since `created_at`."""

    job: Mapping[str, Any]
    cron: str | None = None
    every: int | None = None
    zone: str | None = None
    catch_up: str = "one"
    created_at: int | None = None

    def when(self) -> str:
        """The rule, as people write it."""
        return self.cron if self.cron is not None else f"every {units.span(self.every or 0)}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object for this schedule."""
        record: dict[str, Any] = {}
        if self.cron is not None:
            record |= {"cron": self.cron, "zone": self.zone}
        else:
            record["every"] = units.span(self.every or 0)
        record |= {"catch_up": self.catch_up, "job": dict(self.job)}
        if self.created_at is not None:
            record["created_at"] = units.iso(self.created_at)
        return record

    def to_bytes(self) -> bytes:
        """The contents of a schedule's file."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2).encode() + b"\n"

    def job_at(self, name: str, tick: int, turn: int = 1) -> Job:
        """The job that a tick of this schedule, which is called `name`, becomes; `turn` as for tick_id."""
        job = self.any_job(name)
        return job._replace(id=tick_id(name, tick, turn), run_at=float(tick))

    def made_by(self, time: int) -> Schedule:
        """The same schedule, made at `time` at the latest; an interval keeps its seconds."""
        made, step = self.created_at or 0, self.every or 1
        late = made - time
        return self._replace(created_at=made - -(-late // step) * step) if late > 0 else self

    def any_job(self, name: str) -> Job:
        """A job of this schedule that belongs to no tick."""
        job = from_dict(dict(self.job))
        return job if job.name is not None else job._replace(name=name)


def is_name(text: object) -> bool:
    """Whether a schedule may be called this."""
    return isinstance(text, str) and is_id(text) and len(text) <= LONGEST_NAME


def check_name(text: str) -> None:
    """Refuse what cannot be the name of a schedule."""
    if not is_name(text):
        letters = "use the letters A-Z a-z 0-9 . _ - and begin with a letter or digit"
        raise InvalidSchedule(
            f"{str(text)[:140]!r} is no name for a schedule; {letters}, at most {LONGEST_NAME}"
        )


def tick_id(name: str, tick: int, turn: int = 1) -> str:
    """The id of the job that a tick becomes: the same on every host, so only one of them can create it.

    `turn`: 2 after the clock was set back once, and so on. Its seconds come again, for other jobs.
    """
    again = f"-{turn}" if turn > 1 else ""
    return f"{name[: LONGEST_NAME - len(again)]}-{stamp(tick)[:15]}Z{again}"


# -- reading


def parse(data: bytes) -> Schedule:
    """The schedule that `data` describes."""
    try:
        record = load(data)
    except InvalidJob as error:
        raise InvalidSchedule(str(error)) from None
    return from_record(record)


def from_record(record: object) -> Schedule:
    """The schedule that a decoded JSON value describes."""
    if not isinstance(record, dict):
        raise InvalidSchedule(f"a schedule is a JSON object, not {kind(record)}")
    for key in record:
        if key not in _READERS:
            raise InvalidSchedule(unknown(key, _READERS))
    try:
        values: dict[str, Any] = {
            key: _READERS[key](value) for key, value in record.items() if value is not None
        }
    except ValueError as error:
        raise InvalidSchedule(str(error)) from None
    if "job" not in values:
        raise InvalidSchedule('job: is missing; write {"command": "..."}')
    if ("cron" in values) == ("every" in values):
        raise InvalidSchedule("give one of cron and every")
    if "every" in values and "zone" in values:
        raise InvalidSchedule("zone: an interval has none; leave it out")
    if "cron" in values:
        values.setdefault("zone", "UTC")
    return Schedule(**values)


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key}: must be a string, not {kind(value)}")
    return str.__str__(value)


def _cron(value: Any) -> str:
    text = _text(value, "cron")
    cron.check(text)
    return text


def _every(value: Any) -> int:
    try:
        seconds = units.seconds(value)
    except ValueError as error:
        raise ValueError(f"every: {error}") from None
    if seconds < 1 or seconds != int(seconds):
        raise ValueError("every: must be whole seconds, at least one")
    return int(seconds)


def _zone(value: Any) -> str:
    name = _text(value, "zone")
    cron.zone(name)
    return name


def _catch_up(value: Any) -> str:
    if value not in CATCH_UPS:
        raise ValueError(f"catch_up: must be one of {', '.join(CATCH_UPS)}")
    return _text(value, "catch_up")


def _job(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"job: must be a JSON object, not {kind(value)}")
    own = next((key for key in TICKS_OWN if value.get(key) is not None), None)
    if own:
        raise ValueError(f"job: {own}: comes with each tick; leave it out")
    try:
        job = from_dict(value)
    except InvalidJob as error:
        raise ValueError(f"job: {error}") from None
    if job.predecessors:
        raise ValueError(
            "job: after: a job that comes again and again cannot wait for one that ends once; leave it out"
        )
    return job.to_dict()


def _created_at(value: Any) -> int:
    try:
        return int(units.instant(value))
    except ValueError as error:
        raise ValueError(f"created_at: {error}") from None


_READERS: dict[str, Callable[[Any], Any]] = {
    "cron": _cron,
    "every": _every,
    "zone": _zone,
    "catch_up": _catch_up,
    "job": _job,
    "created_at": _created_at,
}


# -- ticks


def ticks(schedule: Schedule, after: int) -> Iterator[int]:
    """The ticks after a time, in order; none before the schedule was made, nor after 2199."""
    begun = schedule.created_at or 0
    after = max(after, begun)
    if schedule.every is not None:
        first = after + schedule.every - (after - begun) % schedule.every
        return iter(range(first, units.LATEST + 1, schedule.every))
    return _until(
        units.LATEST, cron.ticks(schedule.cron or "", cron.zone(schedule.zone or "UTC"), after)
    )


def _until(latest: int, found: Iterator[int]) -> Iterator[int]:
    return itertools.takewhile(lambda tick: tick <= latest, found)


def following(schedule: Schedule, after: int) -> int | None:
    """The first tick after a time; None: there is none in fifty years, or before 2200."""
    return next(ticks(schedule, after), None)


def upcoming(schedule: Schedule, after: int, count: int) -> list[int]:
    """The first ticks after a time, `count` at most."""
    return list(itertools.islice(ticks(schedule, after), count))


# -- what is due


class Due(NamedTuple):
    """The ticks that are to become jobs, and until when they were missed and are not made up; None: none was."""

    ticks: list[int]
    missed: int | None


def due(schedule: Schedule, last: int, now: float) -> Due:
    """What is due `now`, when `last` was the last tick that was dealt with."""
    until = int(now)
    begin = _beginning(schedule, last, until)
    found = list(_until(until, ticks(schedule, begin)))
    first = following(schedule, last) if begin > last else None
    return Due(found, begin if first is not None and first <= begin else None)


def _beginning(schedule: Schedule, last: int, until: int) -> int:
    """The time after which ticks become jobs: those of the last minute always do."""
    recent = max(last, until - GRACE)
    if schedule.catch_up == "none":
        return recent
    most = 1 if schedule.catch_up == "one" else MOST
    return min(recent, _before_newest(schedule, most, last, until))


def _before_newest(schedule: Schedule, count: int, last: int, until: int) -> int:
    """The latest time with `count` ticks between it and `until`; `last` if there are not so many since then."""

    def has_so_many(after: int) -> bool:
        found = itertools.islice(_until(until, ticks(schedule, after)), count - 1, None)
        return next(found, None) is not None

    low, high = last, until
    if not has_so_many(low):
        return last
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if has_so_many(middle) else (low, middle)
    return low
