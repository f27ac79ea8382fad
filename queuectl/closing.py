"""The closing of a batch: whether all its jobs have ended, found with few looks, and told to one only.

`batches/<batch>` has an id a line. Beside the hooks, `hooks/done/<batch>~at` remembers the first job that had not ended
at the last look, so that of a large batch each end costs one look; and `hooks/done/<batch>~<bytes>` says that the
end of those jobs has been told that were in the list when it had so many bytes. With more jobs a batch can end again.

Promises
    An end is told once, and again if whoever was telling it died.
Leaves to others
    running the hook (calls); the lists (batches).
Raises
    OSError from the disk.
"""

from __future__ import annotations

from typing import Any, Literal

from queuectl import batches, disk, lookup
from queuectl.errors import NoSuchBatch
from queuectl.filename import is_id
from queuectl.layout import ENDED, STATES
from queuectl.spool import Spool

#: Seconds without a new job after which a list counts as whole: a large batch comes in pieces.
SETTLED = 2.0

#: Seconds for which an id that is nowhere may be a job that is just being enqueued.
NEWBORN = 60.0

#: Seconds for which a job that has never run is believed to wait, without looking for it among all others.
TRUSTED = 60.0

#: The ids of dead jobs that a hook is told.
TOLD = 1000


class Look:
    """One look at a batch, because the job `came` has ended."""

    def __init__(self, spool: Spool, batch: str, came: str) -> None:
        self._spool, self.batch, self._came = spool, batch, came
        self._path = spool.at("batches", batch)
        self._waiting: set[str] | None = None
        self.pause = 0.0  # until another look, if that may say more

    def has_ended(self) -> Literal["yes", "no", "soon"]:
        """Whether all its jobs have ended; soon: if no other job comes."""
        self.size = disk.size(self._path)
        try:
            self.ids = list(batches.members(self._spool, self.batch))
        except NoSuchBatch:
            return "no"
        at, id, is_fresh = self._remembered()
        if (
            is_fresh
            and id != self._came
            and not disk.is_there(self._spool.at("results", id + ".jsonl"))
        ):
            return "no"  # it has not run yet; its own end makes us look again
        at = at if at < len(self.ids) and self.ids[at] == id else 0
        # Those before it had ended once, but somebody may have brought one back.
        first = next(
            (n for n in [*range(at, len(self.ids)), *range(at)] if not self._is_over(self.ids[n])),
            None,
        )
        if first is not None:
            self._remember(first)
            return "no"
        return self._age()

    def _age(self) -> Literal["yes", "soon"]:
        age = self._spool.age(self._path)
        wanted = (
            NEWBORN
            if any(lookup.at_last_record(self._spool, id) is None for id in self.ids)
            else SETTLED
        )
        self.pause = max(0.0, wanted - age)
        return "soon" if self.pause else "yes"

    def _is_over(self, id: str) -> bool:
        """Whether a job has ended, or is nowhere."""
        entry = lookup.at_last_record(self._spool, id)
        if entry is not None:
            return entry.state in ENDED
        if self._waiting is None:
            states = [state for state in STATES if state not in ENDED]
            self._waiting = {
                entry.name.id for state in states for entry in self._spool.entries(state)
            }
        return id not in self._waiting

    def _remembered(self) -> tuple[int, str, bool]:
        """The first job that had not ended at the last look: its place in the list, its id, and whether that look was a moment ago."""
        path = self._spool.at("hooks", "done", self.batch + "~at")
        try:
            at, _, id = disk.read(path, 1024).data.decode("ascii", "replace").partition(" ")
        except (FileNotFoundError, disk.NotPlain):
            return 0, "", False
        if not (at.isdigit() and len(at) < 12 and is_id(id)):
            return 0, "", False
        return int(at), id, self._spool.age(path) < TRUSTED

    def _remember(self, at: int) -> None:
        temporary = self._spool.temporary()
        disk.write(temporary, f"{at} {self.ids[at]}".encode(), durable=False)
        disk.make(self._spool.at("hooks", "done"))
        disk.replace(temporary, self._spool.at("hooks", "done", self.batch + "~at"))

    def is_ours(self, note: str) -> bool:
        """Whether the end is ours to tell: the first note that asks gets a second name, which stays."""
        disk.make(self._spool.at("hooks", "done"))
        # CRASH: dying after this leaves a note that has that name: whoever takes it tells.
        return disk.link(note, self._spool.at("hooks", "done", f"{self.batch}~{self.size}"))

    def record(self) -> dict[str, Any]:
        """The batch as its hook is told."""
        states: dict[str, list[str]] = {"completed": [], "dead": [], "": []}
        for id in self.ids:
            entry = lookup.at_last_record(self._spool, id)
            states[entry.state if entry and entry.state in ENDED else ""].append(id)
        counts = {
            "jobs": len(self.ids),
            "completed": len(states["completed"]),
            "dead": len(states["dead"]),
            "gone": len(states[""]),
        }
        return {"batch": self.batch, **counts, "dead_ids": states["dead"][:TOLD]}


def sweep(spool: Spool) -> None:
    """Forget the ends of batches that are gone."""
    for name in list(disk.scan(spool.at("hooks", "done"))):
        batch, _, _ = name.rpartition("~")
        if not disk.is_there(spool.at("batches", batch)):
            disk.unlink(spool.at("hooks", "done", name))
