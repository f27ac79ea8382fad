"""A job file's name: everything the queue must know without opening the file.

    20261122T101502.123456Z-p5-a0-resize-42.json
    '--- time, UTC -------' |  |  '-- id (may contain "-": parse from the left)
                            |  '-- attempts started so far
                            '-- priority 0..9, 9 first

Promises
    decode(encode(name)) is name, and a text that decode accepts is the only text
    for its name: no second spelling, so no two files for one move.
    A canonical name is ASCII, at most 200 bytes, and sorts by time as text.
Leaves to others
    what the time means in which directory (spool); the contents (job).
Raises
    ValueError from encode for what no name can hold; decode answers None.
"""

from __future__ import annotations

import functools
import re
import time
from typing import NamedTuple

from queuectl.units import LATEST

#: Characters of a name before "-p": the time.
STAMP = 23

#: The characters of an id; it begins with a letter or a digit.
_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")

_NAME = re.compile(
    r"\d{8}T\d{6}\.\d{6}Z-p(\d)-a(0|[1-9]\d{0,5})-([A-Za-z0-9][A-Za-z0-9._-]{0,127})\.json",
    re.ASCII,
)

#: No name counts more attempts than this; the counter stays there.
MOST_ATTEMPTS = 999_999


class Name(NamedTuple):
    """What a job file's name says. `time` is seconds since 1970, UTC, whole microseconds."""

    time: float
    priority: int
    attempts: int
    id: str


def stamp(epoch: float) -> str:
    """`epoch` as the 23 characters that begin a name; as text they sort like the times."""
    micros = str(round(epoch * 1_000_000)).zfill(7)
    return f"{_second(micros[:-6])}{micros[-6:]}Z"


@functools.lru_cache(maxsize=256)
def _second(digits: str) -> str:
    """A second as it stands in a name, with a point; neighbours in time ask for the same one again and again."""
    if not digits.isdecimal() or int(digits) > LATEST:
        raise ValueError(f"time {digits} is not between the years 1970 and 2199")
    t = time.gmtime(int(digits))
    return f"{t[0]:04}{t[1]:02}{t[2]:02}T{t[3]:02}{t[4]:02}{t[5]:02}."


def unstamp(text: str) -> float:
    """The time that the first 23 characters of a name say; not checked against the calendar."""
    return (_whole(text[:15]) * 1_000_000 + int(text[16:22])) / 1_000_000


@functools.lru_cache(maxsize=256)
def _is_time(text: str) -> bool:
    """Whether a text such as 20261122T101502 is a second of the calendar, in the years that names can say."""
    try:
        # The 31st of February has a time as well; the way back tells.
        return _second(str(_whole(text))) == text + "."
    except (ValueError, OverflowError):
        return False


@functools.lru_cache(maxsize=256)
def _whole(text: str) -> int:
    """The second that a text such as 20261122T101502 says, also on a 31st of February or in a 13th month."""
    year, month, day, hour, minute, second = map(
        int, (text[0:4], text[4:6], text[6:8], text[9:11], text[11:13], text[13:15])
    )
    # A year that begins in March has its odd day at its end.
    year, month = year - (month < 3), (month + 9) % 12
    days = (
        year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
    )
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def encode(name: Name) -> str:
    """The file name that says `name`."""
    if not is_id(name.id):
        raise ValueError(f"{name.id!r} is no id")
    if not (0 <= name.priority <= 9 and 0 <= name.attempts <= MOST_ATTEMPTS):
        raise ValueError(f"priority {name.priority} or attempts {name.attempts} out of range")
    return f"{stamp(name.time)}-p{name.priority}-a{name.attempts}-{name.id}.json"


def retimed(name: Name, epoch: float) -> str:
    """The file name that says `name`, which some file has, but for its time."""
    return f"{stamp(epoch)}-p{name.priority}-a{name.attempts}-{name.id}.json"


def decode(text: str) -> Name | None:
    """What the file name `text` says, or None if it is not one of ours."""
    match = _NAME.fullmatch(text)
    if match is None or not _is_time(text[:15]):
        return None
    priority, attempts, id = match.groups()
    return Name(unstamp(text), int(priority), int(attempts), id)


def claimed(text: str, now: float) -> tuple[Name, str] | None:
    """What becomes of the name `text` when its job is claimed `now`: the new name and its text. None: it is not one of ours."""
    match = _NAME.fullmatch(text)
    if match is None or not _is_time(text[:15]):
        return None
    priority, attempts, id = match.groups()
    count = min(int(attempts) + 1, MOST_ATTEMPTS)
    return Name(now, int(priority), count, id), f"{stamp(now)}-p{priority}-a{count}-{id}.json"


def has_shape(text: str) -> bool:
    """Whether only the calendar may still say no to `text`: a glance for scans of a million, decode has the last word."""
    return _NAME.fullmatch(text) is not None


def id_of(text: str) -> str:
    """The id in a full name, or "" if there is none: a glance that takes nothing else apart."""
    parts = text.split("-", 3)
    return parts[3][:-5] if len(parts) == 4 else ""


def resembles(text: str) -> bool:
    """Whether somebody meant `text` as a full name, rightly or wrongly."""
    return (
        text[8:9] == "T" and text[22:25] == "Z-p" and text[26:28] == "-a" and text[-5:] == ".json"
    )


def is_id(text: str) -> bool:
    """Whether `text` can be an id."""
    return 0 < len(text) <= 128 and _ID.issuperset(text) and text[0] not in "._-"


def is_drop(text: str) -> bool:
    """Whether a file of this name in pending/ is meant as a job, and not an editor's or a file system's own."""
    return text.endswith(".json") and not text.startswith(".")


def fitted(prefix: str, text: str, most: int = 200) -> str:
    """`prefix` + `text`, shortened from the end of `text` to `most` bytes; its bytes may be no valid UTF-8."""
    room = most - len(prefix)
    kept = text
    while len(kept.encode("utf-8", "surrogateescape")) > room:
        kept = kept[:-1]
    return prefix + kept


def renamed(drop: str, nonce: str) -> str:
    """Another name for a drop, so that a newer one may have its old name."""
    return fitted("", drop.removesuffix(".json"), 150) + f".{nonce}.json"
