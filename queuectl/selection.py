"""Which jobs a verb is about: ids, a batch, states and a name, the same way everywhere.

What is said narrows: a job is chosen if all of it holds. `last` is the job that was enqueued
last. A list takes beginnings of ids; what is to be changed needs the whole id.

Promises
    Jobs come as they are found: a choice from a million reads names, and only those files whose
    contents it asks for (a name; a batch, for ids that callers chose, which may come again).
Leaves to others
    one id (lookup), what to do to the jobs (actions).
Raises
    NoSuchJob, AmbiguousId, NoSuchBatch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice

from queuectl import batches, disk, ids, lookup
from queuectl.errors import NoSuchJob
from queuectl.filename import decode, id_of
from queuectl.layout import STATES, Entry
from queuectl.spool import Spool

#: The word for the job that was enqueued last.
LAST = "last"


class Selection:
    """Jobs of a spool, chosen by ids, batch, states and a name with * and ?; what is left out does not matter."""

    def __init__(
        self,
        spool: Spool,
        *,
        ids: Iterable[str] = (),
        batch: str | None = None,
        states: Iterable[str] = (),
        name: str | None = None,
    ) -> None:
        self.spool, self.ids, self.batch, self.states, self.name = (
            spool,
            tuple(ids),
            batch,
            tuple(states),
            name,
        )
        self._members: dict[str, None] | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing was said: then every job is chosen."""
        return not (self.ids or self.batch is not None or self.states or self.name is not None)

    def entries(self, within: Iterable[str] = STATES) -> Iterator[Entry]:
        """The jobs that are chosen and in one of these states."""
        within = set(within)
        if self.ids:
            yield from (
                entry for id in self.ids if (entry := self.find(id)) and entry.state in within
            )
            return
        for state in STATES:
            if state in within and (not self.states or state in self.states):
                yield from (entry for entry in self._of(state) if self._fits(entry))

    def _of(self, state: str) -> Iterator[Entry]:
        yield from self.spool.entries(state, among=self._batch())
        if state == "pending" and self.batch is None:
            yield from lookup.drops(self.spool)

    def find(
        self, id: str, how: Callable[[Spool, str], Entry] = lookup.find_to_change
    ) -> Entry | None:
        """The job that has this id, or is `last`; None if it is not among those chosen otherwise."""
        entry = last(self.spool) if id == LAST else how(self.spool, id)
        while not self.has(entry):
            if disk.is_there(self.spool.at(entry.file)):
                return None
            entry = lookup.find(self.spool, entry.name.id)  # RACE: it moved before it was read
        return entry

    def has(self, entry: Entry) -> bool:
        """Whether a job, where it is now, is among those chosen otherwise than by ids."""
        return (not self.states or entry.state in self.states) and self._fits(entry)

    def listed(self, limit: int) -> list[Entry]:
        """The jobs in the order of a list, `limit` in all (0: every one)."""
        states = self.states or STATES
        if self.ids:
            found = (self.find(id, lookup.find_by_beginning) for id in self.ids)
            return [entry for entry in found if entry][: limit or None]
        if self.batch is None and self.name is None:
            return lookup.select(self.spool, states, limit)
        chosen = (
            entry
            for entry in lookup.select(self.spool, states, 0, self._batch())
            if self._fits(entry)
        )
        return list(islice(chosen, limit or None))

    def _batch(self) -> dict[str, None] | None:
        if self.batch is not None and self._members is None:
            self._members = batches.members(self.spool, self.batch)
        return self._members

    def _fits(self, entry: Entry) -> bool:
        """Whether the job has the name, and is in the batch."""
        members = self._batch()
        if members is not None and entry.name.id not in members:
            return False
        reads = self.name is not None or (members is not None and not ids.is_ours(entry.name.id))
        if not reads:
            return True
        job = lookup.read(self.spool, entry.file)
        if job is None:
            return False
        return (self.batch in (None, job.batch)) and (
            self.name is None or fnmatchcase(job.name or "", self.name)
        )


def last(spool: Spool) -> Entry:
    """The job that was enqueued last; one whose id is "last" comes first.

    Looks at all names, and at the time of the file of each job whose id a caller chose.
    """
    if disk.links(spool.at("ids", LAST)) > 1:
        return lookup.find(spool, LAST)
    newest = _newest_of_ours(spool)
    since = ids.time_of(newest) if newest else 0.0
    chosen = (
        (version[1] / 1e9, id)
        for id in disk.scan(spool.at("ids"))
        if (version := disk.version(spool.at("ids", id)))
    )
    later = sorted(
        ((time, id) for time, id in chosen if time > since and not id.startswith(".")), reverse=True
    )
    newest = next((id for _, id in later if disk.links(spool.at("ids", id)) > 1), newest)
    if not newest:
        raise NoSuchJob(LAST, spool.path)
    return lookup.find(spool, newest)


def _newest_of_ours(spool: Spool) -> str:
    """The greatest id of our own shape; such ids sort by time."""
    found = ""
    for state in STATES:
        for place in spool.places(state):
            for text in spool.names(place):
                id = id_of(text)
                if id > found and ids.is_ours(id) and decode(text):
                    found = id
    return found
