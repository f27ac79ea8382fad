"""Batches: jobs that belong together, by a name.

`batches/<name>` has the ids of its jobs, a line each. A job is entered before it comes into
the queue, by whoever enqueues or admits it, so that no job of a batch is missing there; an
id that is nowhere (its enqueue died, or the job was removed) is ignored.

Promises
    A job that is in the queue is in the list of its batch, also after a power cut.
    Any number may enter jobs at once, on any host, and none is lost.
    A list goes only when none of its jobs is left.
Leaves to others
    what a name may look like (job), which of its jobs are where (selection, tally).
Raises
    NoSuchBatch; OSError from the disk; Locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from queuectl import disk
from queuectl.errors import NoSuchBatch
from queuectl.filename import has_shape, id_of, is_drop, is_id
from queuectl.layout import STATES, Layout

#: What closes a line that a crash tore: with it the line is no id, though its beginning may be one.
TORN = b"~\n"

#: The most of one list that is read, in bytes.
MOST = 1 << 30

#: Seconds for which a list is left alone: the jobs that were entered last may still be on their way.
YOUNG = 3600


def note(spool: Layout, jobs: Iterable[tuple[str | None, str]]) -> None:
    """Enter jobs in the lists of their batches; each is (its batch or None, its id)."""
    members: dict[str, list[str]] = {}
    for batch, id in jobs:
        if batch:
            members.setdefault(batch, []).append(id)
    for batch, found in members.items():
        _enter(spool, batch, found)


def _enter(spool: Layout, batch: str, ids: list[str]) -> None:
    spool.need("batches")
    path = spool.at("batches", batch)
    with _alone(spool):
        is_new = not disk.is_there(path)
        # RACE: somebody may be removing the list just now, because all its jobs are gone.
        while not disk.append(
            path, "".join(f"{id}\n" for id in ids).encode(), closing=TORN, lasting=True
        ):
            is_new = True
        if is_new:
            disk.sync(spool.at("batches"))


def _alone(spool: Layout) -> AbstractContextManager[None]:
    """Where several hosts share a spool two that append would write over each other."""
    return spool.locked("batches", ".lock") if spool.is_shared else nullcontext()


def names(spool: Layout) -> Iterator[str]:
    """The batches there are."""
    return (name for name in disk.scan(spool.at("batches")) if not name.startswith("."))


def members(spool: Layout, batch: str) -> dict[str, None]:
    """The ids of all jobs of a batch, in the order in which they came, also of those that are gone."""
    try:
        data = (
            disk.read(spool.at("batches", batch), MOST).data
            if "/" not in batch and batch[:1] not in ("", ".")
            else None
        )
    except FileNotFoundError:
        data = None
    if data is None:
        raise NoSuchBatch(batch, spool.path)
    lines = data.decode("ascii", "replace").split("\n")
    return dict.fromkeys(
        line for line in lines[:-1] if is_id(line)
    )  # what comes after the last newline is torn


def is_coming(spool: Layout, batch: str) -> bool:
    """Whether a job may be in the list of this batch and not in the queue yet.

    Its file is in tmp/ then, or with the worker that admits it.
    """
    said = f'"{batch}"'.encode()
    paths = [spool.at("tmp", text) for text in spool.names("tmp")]
    for place in spool.places("processing"):
        names = spool.names(place)
        paths += [spool.at(place, text) for text in names if is_drop(text) and not has_shape(text)]
    return any(_says(path, said) for path in paths)


def _says(path: str, text: bytes) -> bool:
    """Whether the job in a file may have this text; with an escape it can have any."""
    try:
        data = disk.read(path, MOST).data
    except OSError:
        return False
    return text in data or b"\\u" in data


def prune(spool: Layout, before: float) -> int:
    """Remove the lists of batches none of whose jobs is left, and that nobody has written to since `before`: how many."""
    found = {name: disk.modified(spool.at("batches", name)) for name in names(spool)}
    ids = {
        name: members(spool, name)
        for name, modified in found.items()
        if modified is not None and modified < before
    }
    for _ in range(
        2
    ):  # RACE: a job that moves back while we look can be overlooked, though hardly twice
        ids = (
            {name: left for name, left in ids.items() if name not in _alive(spool, ids)}
            if ids
            else ids
        )
    return sum(_remove(spool, name, left) for name, left in ids.items())


def _alive(spool: Layout, ids: dict[str, dict[str, None]]) -> set[str]:
    """Those of these batches that have a job in the spool."""
    wanted = {id for left in ids.values() for id in left}
    places = (place for state in STATES for place in spool.places(state))
    here = {id for place in places for text in spool.names(place) if (id := id_of(text)) in wanted}
    return {name for name, left in ids.items() if not here.isdisjoint(left)}


def _remove(spool: Layout, batch: str, known: dict[str, None]) -> bool:
    path, temporary = spool.at("batches", batch), spool.temporary()
    with _alone(spool):
        if not disk.rename(path, temporary):
            return False
        data = disk.read(temporary, MOST).data
    # CRASH: dying here forgets to which batch those jobs belong that came in this very moment; they run all the same.
    came = [
        id
        for line in data.decode("ascii", "replace").split("\n")
        if is_id(id := line) and id not in known
    ]
    if came:
        _enter(spool, batch, came)
    disk.unlink(temporary)
    return not came
