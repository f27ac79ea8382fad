"""Limits: at most so many jobs with one limit run at once, in the whole spool, on all hosts.

A limit has tokens, files named 1, 2, 3 in `limits/<limit>/`. Who runs a job with this
limit has moved one into its own directory in processing/, by one rename; who rescues the
worker moves it back. So `ls limits/ffmpeg` shows what is free.

Beside each token stands a second name of the same file, `.1` for `1`, that never moves:
it says that the token exists, wherever it is. No token is ever removed; those with a
number above the limit are not taken.

Promises
    There is one token of each number, also after crashes and while the limit is changed.
    What was lost with a directory that somebody removed is issued again by the sweep.
Leaves to others
    how many (config), who waits and who is woken (blocked), rescue (recovery).
Raises
    OSError from the disk; Locked.
"""

from __future__ import annotations

import os

from queuectl import disk
from queuectl.spool import Spool

#: What the name of a token ends in while a worker has it.
TOKEN = ".token"  # noqa: S105  a thing to hold, no secret


def free(spool: Spool, limit: str) -> list[str]:
    """The tokens of a limit that nobody has, lowest first; those that were never issued are free, too."""
    most = spool.settings().limit(limit)
    names = set(disk.scan(spool.at("limits", limit)))
    numbers = [str(number) for number in range(1, most + 1)]
    return [number for number in numbers if number in names or "." + number not in names]


def take(spool: Spool, limit: str, worker: str) -> bool:
    """Take a token into the directory of `worker`. False: others have them all."""
    for number in free(spool, limit):
        # RACE: another worker takes it first; then the next.
        if _take(spool, limit, number, worker) or (
            _issue(spool, limit, number) and _take(spool, limit, number, worker)
        ):
            return True
    return False


def _take(spool: Spool, limit: str, number: str, worker: str) -> bool:
    return disk.rename(
        spool.at("limits", limit, number),
        spool.at("processing", worker, f"{limit}.{number}{TOKEN}"),
    )


def give_back(spool: Spool, worker: str, name: str) -> str:
    """Put the token back that has this name in the directory of `worker`: its limit."""
    limit, _, number = name.removesuffix(TOKEN).rpartition(".")
    source, target = spool.at("processing", worker, name), spool.at("limits", limit, number)
    if disk.is_same(source, target):
        disk.unlink(
            source
        )  # CRASH: a power cut kept both names of one move (btrfs); a rename between them does nothing
    else:
        disk.rename(source, target)
    return limit


def _issue(spool: Spool, limit: str, number: str) -> bool:
    """Make the token of this number if there never was one. False: there is, and somebody has it."""
    directory = spool.at("limits", limit)
    spool.need("limits")
    disk.make(directory)
    with spool.locked("limits", ".lock"):
        known = f"{directory}/.{number}"
        if disk.is_there(known):
            return False
        temporary = spool.temporary()
        disk.write(temporary, b"", durable=False)
        # CRASH: dying between these two leaves a token whose other name is in tmp/; when that is swept, `mend` sees it.
        disk.link(temporary, known)
        disk.rename(temporary, f"{directory}/{number}")
    return True


def mend(spool: Spool) -> int:
    """Issue again what was lost: tokens that exist nowhere but by their second name. How many those were."""
    lost = [path for limit in spool.directories("limits") for path in _lost(spool, limit)]
    if not lost:
        return 0
    with spool.locked("limits", ".lock"):
        for path in lost:
            if disk.links(path) == 1:
                temporary = spool.temporary()
                disk.link(path, temporary)
                directory, name = os.path.split(path)
                disk.rename(temporary, os.path.join(directory, name[1:]))
    return len(lost)


def _lost(spool: Spool, limit: str) -> list[str]:
    directory = spool.at("limits", limit)
    known = [
        f"{directory}/{name}"
        for name in disk.scan(directory)
        if name.startswith(".") and name[1:].isdigit()
    ]
    return [path for path in known if disk.links(path) == 1]
