"""Seconds and times: text at the edge, floats inside.

Inside queuectl a duration is a float of seconds and a time is a float of seconds
since 1970 in UTC, with microseconds that survive a round trip. Only this module
turns text into them and back.

Promises
    seconds accepts 90, 1.5, "90", "90s", "10m", "1h30m", "2d", "1w", and a timedelta.
    instant accepts ISO 8601, and a datetime with a zone; a text without a zone is in the zone its
    caller names.
Raises
    ValueError with a reason for people.
"""

from __future__ import annotations

import functools
import math
import re
import time
from datetime import UTC, datetime, timedelta, tzinfo

#: Seconds in one of each unit.
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

#: No duration is longer than this many seconds: a hundred years.
LONGEST = 100 * 365 * 86400

#: The last second of the year 2199: until 2242 a float of seconds holds every microsecond apart.
LATEST = 7258118399

# Compiled when they are used: most programs read no duration.
_NUMBER = r"\d{1,15}(?:\.\d+)?"
_PART = r"(\d+(?:\.\d+)?)(ms|[smhdw])"


def seconds(value: object) -> float:
    """Seconds from a number, a timedelta or a text such as "10m"; never negative, never NaN."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError('must be seconds, or a text such as "90s", "10m" or "1h30m"')
    result = _written(value) if isinstance(value, str) else value
    if not 0 <= result <= LONGEST:  # also false for NaN; an int may be too long for a float
        raise ValueError("must be between 0 and a hundred years")
    return float(result)


def _written(text: str) -> float:
    text = text.strip().lower()
    if re.fullmatch(_NUMBER, text, re.ASCII):
        return float(text)
    packed = text.replace(" ", "")
    parts = re.findall(_PART, packed, re.ASCII) if len(text) < 100 else []
    if not parts or "".join(number + unit for number, unit in parts) != packed:
        raise ValueError(f'{text!r} is no duration; write seconds, or "90s", "10m", "1h30m", "7d"')
    return math.fsum(float(number) * UNITS[unit] for number, unit in parts)


def span(value: float) -> str:
    """Seconds in the form people read and `seconds` accepts: 604800 -> "1w", 5400 -> "1h30m", 1.5 -> "1.5s"."""
    whole = int(value)
    if whole != value or whole == 0:
        return f"{value:.3f}".rstrip("0").rstrip(".") + "s"
    text = ""
    for unit in ("d", "h", "m", "s"):
        count, whole = divmod(whole, int(UNITS[unit]))
        text += f"{count}{unit}" if count else ""
    return text


def instant(text: object, zone: tzinfo | None = UTC) -> float:
    """The time that ISO 8601 `text`, or a datetime, names. A text without a zone is in `zone` (None: this machine's).

    A time that the clocks skip is as much later as they are put forward. One that they show twice is the first.
    """
    moment = _moment(text)
    try:
        if moment.tzinfo is None and zone is not None:
            moment = moment.replace(tzinfo=zone)
        epoch = round(moment.timestamp(), 6)
    except (OverflowError, OSError, ValueError):
        epoch = -1.0
    if not 0 <= epoch <= LATEST:
        raise ValueError(f"{text!r} is not between the years 1970 and 2199")
    return epoch


def _moment(text: object) -> datetime:
    if isinstance(text, datetime):
        if text.utcoffset() is None:
            raise ValueError(f"{text!r} names no zone; give it one, such as datetime.UTC")
        return text
    if not isinstance(text, str):
        raise ValueError('must be a time such as "2026-11-22T10:15:00Z"')
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f'{text!r} is no time; write it as "2026-11-22T10:15:00Z"') from None


def clamped(epoch: float) -> float:
    """The nearest time that a name can say: anybody can give a file any time."""
    return min(max(epoch, 0.0), float(LATEST))


def iso(epoch: float) -> str:
    """`epoch` as 2026-11-22T10:15:02.123456Z.

    A time that no calendar has becomes the end of 2199 or the beginning of 1970.
    """
    try:
        micros = round(epoch * 1e6)  # a text times a whole number would be a very long text
        whole = micros // 1_000_000
        return f"{_second(whole)}{micros - whole * 1_000_000:06}Z"
    except (ValueError, OverflowError, OSError):  # NaN, or no time of any calendar
        return iso(LATEST if epoch > 0 else 0.0)


@functools.lru_cache(maxsize=64)
def _second(whole: int) -> str:
    t = time.gmtime(whole)
    return f"{t[0]:04}-{t[1]:02}-{t[2]:02}T{t[3]:02}:{t[4]:02}:{t[5]:02}."


def ago(value: float) -> str:
    """Seconds, rounded for a table: "12s", "3m", "5h", "2d"."""
    value = max(0.0, value)
    for unit in ("d", "h", "m"):
        if value >= UNITS[unit]:
            return f"{int(value // UNITS[unit])}{unit}"
    return f"{int(value)}s"
