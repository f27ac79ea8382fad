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
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

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


def check(text: str) -> None:
    """Refuse what is no cron expression, or one that names no time."""
    if len(text) > LONGEST:
        raise InvalidSchedule(f"cron: has {len(text)} characters, and {LONGEST} are the most")
    if next(_days(text, datetime(2000, 1, 1)), None) is None:  # noqa: DTZ001  the zone comes later
        raise InvalidSchedule(f"cron: {text!r} never happens")


@functools.lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The time zone of this name."""
    if name == "UTC":
        return UTC  # also where there is no data of zones
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
        hint = "write five fields, such as '*/5 * * * *': minute, hour, day, month, weekday; with six the first is the second"
        raise InvalidSchedule(
            f"cron: {text!r}: {str(error).lower() or 'cannot be read'}; {hint}"
        ) from None
    return iter(walk)


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
