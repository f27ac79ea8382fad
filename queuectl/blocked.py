"""Blocked jobs: those that wait for another job, or for a token of a full limit.

A worker that has claimed such a job moves it on to `blocked/after.<id>/` or
`blocked/limit.<limit>/`, as if it had never been claimed; so `ls blocked` shows what is waited
for, and `ls blocked/limit.ffmpeg` who waits. Whoever ends a job, or gives a token back,
moves those that waited for it to pending/, where they are claimed and judged again. Nobody looks
meanwhile: waiting costs nothing.

Promises
    Who parks a job looks again after the move, so that no end and no token is missed.
    What a crash left asleep is woken by the sweep.
Leaves to others
    what a job may wait for (job), when a token is free (limits), claims (worker).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from queuectl import disk, limits, lookup
from queuectl.errors import InvalidJob
from queuectl.filename import Name, decode, encode, has_shape, id_of, is_drop
from queuectl.job import Job, parse
from queuectl.layout import ENDED, STATES
from queuectl.spool import Claim, Spool

#: Names that are looked at to find the best of those that wait for one thing: beyond that the order is loose.
MOST = 10_000

#: What the directories begin with, for those that wait for a job, and for a limit.
AFTER, LIMIT = "after.", "limit."

#: Tries to park a job in a directory that others remove whenever it is empty, and to wake some of those whom others wake, too.
TRIES = 100


class Block(NamedTuple):
    """Why a job cannot run now. `key`: the directory in blocked/ to wait in; empty if it can never run, for this `reason`."""

    key: str
    reason: str = ""


def by_others(spool: Spool, job: Job) -> Block | None:
    """Whether a job must wait for another, or waits in vain."""
    waits = None
    for kind, ids in (("completed", job.after), ("", job.after_any), ("dead", job.after_failed)):
        for id in ids:
            state = state_of(spool, id)
            if state == "":
                return Block(
                    "", f"job {id}, after which it was to run, is not in the spool any more"
                )
            if state not in ENDED:
                waits = waits or Block(AFTER + id)
            elif kind and state != kind:
                return Block(
                    "",
                    f"job {id}, after which it was to run, {'died' if kind == 'completed' else 'completed'}",
                )
    return waits


def state_of(spool: Spool, id: str) -> str:
    """The state of the job `id`; "" if there is no such job. One that others wait for has not ended unless its record says so."""
    entry = lookup.at_last_record(spool, id)
    if entry is not None:
        return entry.state
    if disk.is_there(spool.at("blocked", AFTER + id)):
        return "pending"
    return spool.state_of(id) or ("pending" if spool.is_taken(id) else "")


def park(spool: Spool, claim: Claim, job: Job, key: str) -> bool:
    """Let a claimed job wait for `key`; the attempt does not count. False: it is no longer ours."""
    # A job that was woken in vain keeps its place.
    came = min(claim.name.time, job.created_at or claim.name.time, spool.now())
    name = Name(came, claim.name.priority, max(0, claim.name.attempts - 1), claim.name.id)
    for _ in range(TRIES):
        spool.need("blocked")
        disk.make(spool.at("blocked", key))
        try:
            # CRASH: dying after this, before the second look, leaves the job to the sweep.
            parked = spool.file(claim, f"blocked/{key}/{encode(name)}")
            if parked:
                spool.note("blocked", name.id, state="blocked", waits_for=key)
            return parked
        except FileNotFoundError:
            pass  # RACE: somebody woke the last one and removed the directory
    raise OSError(f"cannot park jobs in {spool.at('blocked', key)}: it is removed again and again")


def is_open(spool: Spool, key: str) -> int:
    """How many of those that wait for this may go on now; a large number for all."""
    if key.startswith(LIMIT):
        return len(limits.free(spool, key.removeprefix(LIMIT)))
    id = key.removeprefix(AFTER)
    entry = lookup.at_last_record(spool, id)
    state = entry.state if entry else spool.state_of(id)
    return MOST if state in ENDED or (state is None and not spool.is_taken(id)) else 0


def wake(spool: Spool, key: str, most: int = MOST) -> int:
    """Move the best `most` of those that wait for this to pending/: how many that were."""
    from queuectl.queue import rank  # most who look wake nobody

    woken, lost, directory = 0, 0, spool.at("blocked", key)
    while woken < most and lost < TRIES:
        names = sorted(
            (text for text in islice(disk.scan(directory), MOST) if has_shape(text)), key=rank
        )[: most - woken]
        if not names:
            break
        moved = sum(_wake(spool, directory, text) for text in names)
        woken += moved
        lost = (
            0 if moved else lost + 1
        )  # RACE: others were quicker with all of these; on a network a list may still show them
    if woken:
        spool.sync_left(
            f"blocked/{key}"
        )  # before it is removed: moves that are made durable together may wait for others
        spool.sync_moves(f"blocked/{key}", "pending")
    disk.remove(directory)
    return woken


def _wake(spool: Spool, directory: str, text: str) -> bool:
    name = decode(text)
    import random  # looking needs no dice

    # RACE: two who wake for a token each may choose the same job. Whoever loses must know it, to wake another: so the name in
    # pending/ is ours alone, due a few microseconds later.
    target = encode(name._replace(time=name.time + random.randint(1, 9999) / 1e6)) if name else text
    if not disk.rename(f"{directory}/{text}", spool.at("pending", target)):
        return False
    spool.note("woken", name.id if name else None, state="pending")
    return True


def ended(spool: Spool, id: str) -> int:
    """Wake those that wait for a job that has just ended: how many that were."""
    key = AFTER + id
    return wake(spool, key) if disk.is_there(spool.at("blocked", key)) else 0


def offer(spool: Spool, limit: str) -> int:
    """Wake as many as there are free tokens of a limit: how many that were. One that was woken before may have been taken away."""
    key = LIMIT + limit
    return wake(spool, key, is_open(spool, key)) if disk.is_there(spool.at("blocked", key)) else 0


def sweep(spool: Spool) -> int:
    """Wake all whom a crash left asleep, or a change of the settings: how many those were."""
    limits.mend(spool)
    return sum(
        wake(spool, key, most)
        for key in spool.directories("blocked")
        if (most := is_open(spool, key))
    )


# -- what is waited for, for the prune


def awaited(spool: Spool, wanted: set[str]) -> set[str]:
    """Those of these ids that a job names that has not ended, or is being enqueued.

    Which jobs wait for others only their files say, so all of these files are read, once. Where no job has ever waited
    for anything there is no blocked/, and nothing is read.
    """
    found, known = set[str](), set[str]()
    if not wanted or not disk.is_there(spool.at("blocked")):
        return found
    most = spool.settings().max_job_size
    for look in range(TRIES):
        is_whole = True
        for place, text in _unended(spool):
            id = id_of(text) if has_shape(text) else ""
            if id in known:
                continue
            named = _named(spool.at(place, text), most)
            if named is not None:
                found |= wanted.intersection(named)
                known |= {id} if id else set()  # the name of a drop may come again for another
            elif place != "tmp":  # what leaves tmp/ comes into one of the others
                is_whole = False
        # RACE: a job that moves while we look can be missed once, or gone before it is read.
        if look and is_whole:
            return found
    return wanted


def _unended(spool: Spool) -> Iterator[tuple[str, str]]:
    """(directory, name) for each job that has not ended, admitted or not, and for what may become a job."""
    yield from (("tmp", text) for text in spool.names("tmp"))
    for state in (state for state in STATES if state not in ENDED):
        for place in spool.places(state):
            yield from ((place, text) for text in spool.names(place) if is_drop(text))


def _named(path: str, most: int) -> tuple[str, ...] | None:
    """The ids of the jobs that the job in a file waits for; None: there is no such file any more."""
    try:
        data = disk.read(path, most).data
    except FileNotFoundError:
        return None
    except OSError:
        return ()  # no job, or none that could run
    if b"after" not in data and b"\\u" not in data:
        return ()
    try:
        return parse(data).predecessors
    except InvalidJob:
        return ()


def waits_for(file: str) -> str:
    """What a job in blocked/ waits for, in words."""
    key = os.path.basename(os.path.dirname(file))
    if key.startswith(LIMIT):
        return f"limit {key.removeprefix(LIMIT)} is full"
    return f"waits for {key.removeprefix(AFTER)}"
