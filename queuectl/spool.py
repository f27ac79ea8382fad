"""The spool: one directory per state, one file per job, one rename per change of state.

    At least once. A job is safe once `enqueue` has returned (or once your rename into
    `pending/` is on disk): no crash of a worker, of the machine or of a disk that is
    full loses it. A job whose worker died runs again.

A job is in the state whose directory holds its file, and nowhere else. A crash leaves
it where it was or where it was going.

Promises
    claim gives a job to one worker, however many ask.
    A rename that finds its file gone is a lost race, never an error.
Leaves to others
    what a name means (filename), when to try again (retry), how jobs come in (intake),
    files that programs drop (admission), who is alive (liveness), finding and showing
    jobs (lookup).
Raises
    OSError with the path when the disk refuses; what intake raises.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from queuectl import disk, ids, results
from queuectl.filename import STAMP, Name, claimed, encode, fitted, retimed, stamp
from queuectl.intake import Intake
from queuectl.layout import LATER, Entry


class Claim(NamedTuple):
    """A job that one worker holds. `file` is its path from the spool and names this run for ever."""

    file: str
    name: Name
    worker: str


class Spool(Intake):
    """A spool at `path`. Making the object touches nothing; enqueue makes the directories if need be.

    `flags` are settings that beat those of the environment and of config.json.
    """

    # -- one verb, one rename

    def claim(self, file: str, worker: str, now: float) -> Claim | None:
        """Take the job at `file` for `worker`: its attempt counts from here. None: somebody else has it."""
        found = claimed(file.rpartition("/")[2], now)
        if found is None:
            return None
        name, text = found
        target = f"processing/{worker}/{text}"
        began = time.perf_counter()
        if not disk.rename(f"{self.path}/{file}", f"{self.path}/{target}"):
            return None  # RACE: another worker won; nothing to do
        took = time.perf_counter() - began
        self.note(
            "claimed",
            name.id,
            state="processing",
            was=file,
            attempt=name.attempts,
            worker=worker,
            took=took,
        )
        return Claim(target, name, worker)

    def target(self, claim: Claim, state: str, due: float) -> str:
        """Where `file` will put a claimed job, as a path from the spool: the record says it beforehand."""
        return f"{state}/{retimed(claim.name, due)}"

    def file(self, claim: Claim, target: str) -> bool:
        """Complete, retry or bury a claimed job. False: another worker rescued it meanwhile, and it is no longer ours."""
        return disk.rename(f"{self.path}/{claim.file}", f"{self.path}/{target}")

    def release(self, claim: Claim) -> bool:
        """Give a claimed job back as if it had never been claimed, due since then."""
        due = min(claim.name.time, self.now())  # a clock that was set back meanwhile
        name = claim.name._replace(time=due, attempts=max(0, claim.name.attempts - 1))
        target = f"pending/{encode(name)}"
        if not disk.rename(self.at(claim.file), self.at(target)):
            return False
        # At once, not with the next group: any enqueue syncs pending/, and that alone must not make the job two.
        self.sync_move(claim.file, target)
        self.note("released", claim.name.id, state="pending")
        return True

    def sync_outcome(self, claim: Claim, target: str) -> None:
        """Make a run's record and the move that followed it survive a power cut."""
        disk.sync(results.path(self.at("results"), claim.name.id))
        disk.sync(self.at("results"))
        self.sync_move(claim.file, target)

    def move(self, entry: Entry, state: str, name: Name) -> Entry | None:
        """Move a job that no worker holds, durably; with its own state only its name changes. None: it was not there any more."""
        target = f"{os.path.dirname(entry.file) if state == entry.state else state}/{encode(name)}"
        if state in LATER:
            self.need(state)
        if not disk.rename(self.at(entry.file), self.at(target)):
            return None
        self.sync_move(entry.file, target)
        self.note("moved", name.id, state=state, was=entry.file)
        return Entry(state, name, target)

    def reject(self, file: str, reason: str, name: str | None = None) -> bool:
        """Set aside what is no job: its bytes untouched, the reason beside it. False: it was not there any more."""
        kept = fitted(f"{stamp(self.now())}-", name or os.path.basename(file), 240)
        disk.append(
            self.at("rejected", kept + ".reason"), reason.encode(errors="surrogateescape") + b"\n"
        )
        if disk.rename(self.at(file), self.at("rejected", kept)):
            self.note("rejected", None, file=kept, reason=reason)
            return True
        disk.unlink(self.at("rejected", kept + ".reason"))
        return False

    def prune_rejected(self, before: float) -> int:
        """Remove what was rejected before that time, with its reasons: how many drops."""
        pruned, limit = 0, stamp(before)
        for name in list(disk.scan(self.at("rejected"))):
            if name[:STAMP] < limit and disk.unlink(self.at("rejected", name)):
                pruned += not name.endswith(".reason")
        return pruned

    def remove(self, entry: Entry) -> bool:
        """Remove a job that no worker holds, with its history, its logs and its id. False: it was not there any more."""
        temporary = self.temporary()
        if not disk.rename(self.at(entry.file), temporary):
            return False
        # CRASH: from here on the job is gone; what stays is swept with tmp/, and its id is void.
        id = entry.name.id
        for path in self.logs(id, entry.name.attempts):
            disk.unlink(path)
        disk.unlink(results.path(self.at("results"), id))
        # The id last: while tmp/ has the file nobody takes the link for void.
        ids.free(self.at("ids"), id, temporary)
        disk.unlink(temporary)
        self.note("removed", id, was=entry.file)
        return True
