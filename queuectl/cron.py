"""Cron: the times that an expression names, in a time zone. Pure.

The calendar is cronsim's, walked without a zone; the zone is put on here, as Debian's cron does it:

    a fixed time (neither minute nor hour begins with *) happens once on every day that has it: in an hour
    that is skipped, at its end; in an hour that is repeated, the first time.
    What recurs (one of them begins with *) happens whenever the clock on the wall says so.

Promises
    A tick is a whole second since 1970 in UTC; `ticks` is one set of them: where one begins to look changes nothing
    of what comes later.
Leaves to others
    intervals, and what is due (schedule).
Raises
    InvalidSchedule.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from queuectl import host
from queuectl.errors import InvalidSchedule

#: Characters of the longest cron expression.
LONGEST = 200

#: What cron calls some expressions.
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_DAY = 86400


class Field(NamedTuple):
    """A field of an expression: its numbers from `low` to `high`, their names, and the unit of an interval."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    unit: str = ""


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

#: The fields in their order. A weekday may be 7 as well: another word for 0.
FIELDS = (
    Field("second", 0, 59, unit="s"),
    Field("minute", 0, 59, unit="m"),
    Field("hour", 0, 23, unit="h"),
    Field("day", 1, 31, unit="d"),
    Field("month", 1, 12, _MONTHS),
    Field("weekday", 0, 6, _WEEKDAYS),
)

_HINT = (
    "write five fields, such as '*/5 * * * *': minute, hour, day, month, weekday; "
    "with six the first is the second"
)

#: A part of a field: all, one, or a range, and perhaps a step. What is none, such as L or MON#1, cronsim judges.
_PART = re.compile(r"(?:(\*)|([0-9]{1,9}|[A-Z]{3})(?:-([0-9]{1,9}|[A-Z]{3}))?)(?:/([0-9]{1,9}))?")

#: A year, or a range of years.
_YEAR = re.compile(r"(?:19|20|21)\d\d(?:[-,/].*)?", re.ASCII)


def check(text: str) -> None:
    """Refuse what is no cron expression, or one that names no time."""
    if len(text) > LONGEST:
        raise InvalidSchedule(f"cron: has {len(text)} characters, and {LONGEST} are the most")
    if not _plain(text).startswith("@"):
        _check_fields(text)
    if next(_days(text, datetime(2000, 1, 1)), None) is None:  # noqa: DTZ001  the zone comes later
        raise InvalidSchedule(f"cron: {text!r} never happens")


def _check_fields(text: str) -> None:
    given = _plain(text).upper().split()
    if len(given) == 6 and _YEAR.fullmatch(given[5]):
        raise InvalidSchedule(f"cron: {text!r} ends in a year; leave it out, all years are meant")
    if len(given) == 7:
        raise InvalidSchedule(f"cron: {text!r} has 7 fields, and none is for years; {_HINT}")
    if len(given) not in (5, 6):
        raise InvalidSchedule(f"cron: {text!r}: wrong number of fields, {len(given)}; {_HINT}")
    for field, parts in zip(FIELDS[-len(given) :], given, strict=True):
        for part in parts.split(","):
            if why := _fault(field, part):
                raise InvalidSchedule(f"cron: {field.name} {part!r} {why}")


def _fault(field: Field, part: str) -> str | None:
    """What is wrong with a part of a field, and the cure."""
    if part == "?":
        return "means nothing here; write *"
    match = _PART.fullmatch(part)
    if match is None:
        return None
    words = [word for word in match.group(2, 3) if word]
    ends = [number for word in words if (number := _number(field, word)) is not None]
    if len(ends) < len(words):
        names = f", nor from {field.words[0]} to {field.words[-1]}" if field.words else ""
        return f"is not from {field.low} to {field.high}{names}"
    if len(ends) == 2 and ends[1] < ends[0]:
        return f"ends before it begins; write {_split(field, *words)}"
    return _fault_of_step(field, ends, match[4]) if match[4] else None


def _fault_of_step(field: Field, ends: list[int], text: str) -> str | None:
    """What is wrong with the step of a range; one without a second end goes on to the end of its field."""
    step = int(text)
    first, last = ends if len(ends) == 2 else (field.low, field.high)
    if step == 0:
        return "has a step of 0; write 1 or more"
    if step <= max(1, last - first):
        return None
    cure = "name the numbers" if ends or not field.unit else f"use every {step}{field.unit}"
    return f"has a step beyond {first}-{last}; {cure}"


def _number(field: Field, word: str) -> int | None:
    if word in field.words:
        return field.words.index(word) + field.low
    if not word.isdecimal() or not field.low <= int(word) <= field.high + (field.name == "weekday"):
        return None
    return int(word)


def _split(field: Field, first: str, last: str) -> str:
    """A range that goes round the end of the field, as two."""
    if field.name == "weekday" and first == "7":
        return f"0-{last}"
    by_name = first in field.words
    high, low = (field.words[-1], field.words[0]) if by_name else (str(field.high), str(field.low))
    ends = (first if first == high else f"{first}-{high}", last if last == low else f"{low}-{last}")
    return ",".join(ends)


@functools.lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The time zone of this name."""
    if name == "UTC":
        return UTC  # also where there is no data of zones
    if host.is_private_zone(name):
        raise InvalidSchedule(
            f"zone: {name!r} is not the same on every host; name the place, such as Europe/Berlin"
        )
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        cure = "write it like Europe/Berlin, and see that this machine has tzdata"
        raise InvalidSchedule(f"zone: no time zone {name[:60]!r} on this machine; {cure}") from None


def ticks(text: str, where: tzinfo, after: int) -> Iterator[int]:
    """The times after this one that the expression names, in order; they end when the next is fifty years away."""
    return _fixed(text, where, after) if _is_fixed(text) else _recurring(text, where, after)


def _plain(text: str) -> str:
    return NICKNAMES.get(text.strip().lower(), text)


def _is_fixed(text: str) -> bool:
    fields = _plain(text).split()
    minute, hour = fields[-5:-3]
    return not (minute.startswith("*") or hour.startswith("*"))


def _days(text: str, after: datetime) -> Iterator[datetime]:
    """The times that an expression names after a time, on a clock that nobody ever puts."""
    import cronsim

    text = _plain(text)
    if text.startswith("@"):
        raise InvalidSchedule(
            f"cron: {text!r} is no time; there are {', '.join(NICKNAMES)}, and five or six fields"
        )
    try:
        walk = cronsim.CronSim(text, after)
    except (cronsim.CronSimError, ValueError, AssertionError) as error:
        if _is_missing_day(text, str(error)):
            raise InvalidSchedule(
                f"cron: {text!r} never happens: none of its months has such a day"
            ) from None
        raise InvalidSchedule(
            f"cron: {text!r}: {str(error).lower() or 'cannot be read'}; {_HINT}"
        ) from None
    return iter(walk)


def _is_missing_day(text: str, error: str) -> bool:
    """Whether cronsim refuses a day only because of the months, such as February 30."""
    import cronsim

    fields = text.split()
    fields[-2] = "*"
    try:
        cronsim.CronSim(" ".join(fields), datetime(2000, 1, 1))  # noqa: DTZ001
    except (cronsim.CronSimError, ValueError, AssertionError):
        return False
    return error == "Bad day-of-month"


def _wall(moment: int, where: tzinfo) -> datetime:
    """What the clock on the wall shows."""
    return datetime.fromtimestamp(moment, where).replace(tzinfo=None)


def _in_utc(shown: datetime) -> int:
    """When a clock that shows UTC shows this."""
    return int(shown.replace(tzinfo=UTC).timestamp())


def _offset(moment: int, where: tzinfo) -> int:
    """Seconds by which the clock on the wall is ahead of UTC."""
    return _in_utc(_wall(moment, where)) - moment


def _fixed(text: str, where: tzinfo, after: int) -> Iterator[int]:
    """Each time on the wall once: the first time that it is shown, or when the gap is over in which it is."""
    for shown in _days(text, _wall(after, where)):
        real = shown
        while _wall(tick := int(real.replace(tzinfo=where).timestamp()), where) != real:
            real = real.replace(second=0) + timedelta(minutes=1)
        if tick > after:
            after = tick  # not what the wall shows again, and several times in one gap are one tick
            yield tick


def _recurring(text: str, where: tzinfo, after: int) -> Iterator[int]:
    """Each time that the wall shows it: stretch by stretch in which nobody puts the clock."""
    offset = _offset(after, where)
    while True:
        for shown in _days(text, datetime.fromtimestamp(after + offset, UTC).replace(tzinfo=None)):
            tick = _in_utc(shown) - offset
            change = _change(after, tick, offset, where)
            if change is not None:
                after, offset = change - 1, _offset(change, where)
                break
            after = tick
            yield tick
        else:
            return


def _change(low: int, high: int, offset: int, where: tzinfo) -> int | None:
    """The first second after `low`, and until `high`, that has another offset. Clocks are not put twice in a day."""
    for step in itertools.chain(range(low + _DAY, high, _DAY), (high,)):
        if _offset(step, where) != offset:
            same, other = max(low, step - _DAY), step
            while other - same > 1:
                middle = (same + other) // 2
                same, other = (
                    (middle, other) if _offset(middle, where) == offset else (same, middle)
                )
            return other
    return None
