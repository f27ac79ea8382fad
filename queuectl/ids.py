"""Ids: ours are made without asking anyone, a caller's own are held by a hard link.

One of ours is 17 characters, a digit first: 11 for the microsecond and 6 of chance,
in the alphabet of Crockford (no i, l, o, u), so that text order is time order. A
caller's id is one job's alone: `ids/<id>` is a second name of that job's file, and
in force while the file has any other name.

Promises
    fresh never repeats within a process, and not between any two in practice.
    hold gives an id to one file, however many ask at once.
Leaves to others
    the search for a job whose link is missing (spool); what is in the file (job).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import os
import time

from queuectl import disk

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LETTERS = frozenset(_ALPHABET)

#: The characters of an id of ours that name it as well as the whole: 11 of time and 1 of chance.
ENOUGH = 12

_last = 0


def fresh() -> str:
    """A new id of our own, later in text order than every one this process made before."""
    global _last
    _last = max(time.time_ns() // 1000, _last + 1)
    return _digits(_last, 11) + _digits(int.from_bytes(os.urandom(4)) >> 2, 6)


def derived(micro: int, number: int) -> str:
    """The id of our own shape for something of a time, in microseconds, and a number: the same for the same."""
    return _digits(micro, 11) + _digits(number * 2654435761 % 2**30, 6)


def time_of(id: str) -> float:
    """When an id of our own shape was made, in seconds since 1970."""
    number = 0
    for digit in id[:11]:
        number = number * 32 + _ALPHABET.index(digit)
    return number / 1_000_000


def _digits(number: int, count: int) -> str:
    text = ""
    for _ in range(count):
        text = _ALPHABET[number & 31] + text
        number >>= 5
    return text


def is_ours(id: str) -> bool:
    """Whether `id` has the shape of our own: such an id needs no link."""
    return len(id) == 17 and id[0] in "0123456789" and _LETTERS.issuperset(id)


def can_begin_ours(text: str) -> bool:
    """Whether `text` is so much of an id of our own shape that no other id ever begins with it.

    That is the time and a character of chance: no process makes two ids of one microsecond.
    """
    return ENOUGH <= len(text) < 17 and text[0] in "0123456789" and _LETTERS.issuperset(text)


def hold(directory: str, id: str, file: str) -> bool:
    """Make `id` the id of the job in `file`. False: another file has it, in force or void."""
    return disk.link(file, os.path.join(directory, id))


def is_void(directory: str, id: str) -> bool:
    """Whether the link of `id` is the last name of its file: its job was removed, or its enqueuer died."""
    return disk.links(os.path.join(directory, id)) == 1


def is_copy(directory: str, id: str, file: str) -> bool:
    """Whether the link of `id` and `file` are two files that hold the same bytes."""
    path = os.path.join(directory, id)
    return not disk.is_same(path, file) and disk.is_equal(path, file)


def free(directory: str, id: str, file: str) -> None:
    """Give up the id of the job in `file`; it must still have that name, so that nobody takes the link for void."""
    path = os.path.join(directory, id)
    if disk.is_same(path, file):
        disk.unlink(path)
