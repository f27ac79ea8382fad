"""The spool: one directory per state, one file per job, one rename per change of state.

    At least once. A job is safe once `enqueue` has returned (or once your rename into
    `pending/` is on disk): no crash of a worker, of the machine or of a disk that is
    full loses it. A job whose worker died runs again.

A job is in the state whose directory holds its file, and nowhere else. A crash leaves
it where it was or where it was going.

Promises
    enqueue returns only when the job is on disk.
    claim gives a job to one worker, however many ask.
    One id, one job: an id that a caller chose is refused while its job is here.
Leaves to others
    what a name means (filename), when to try again (retry), files that programs drop
    (admission), who is alive (liveness), finding and showing jobs (lookup).
Raises
    SpoolMissing, SpoolUnusable, SpoolVersion, IdTaken; OSError with the path when the
    disk refuses; never for a lost race.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from queuectl import batches, config, disk, host, ids, precedence, renewal, results, unique
from queuectl.errors import IdTaken, InvalidJob, SpoolUnusable
from queuectl.filename import STAMP, Name, claimed, encode, fitted, retimed, stamp
from queuectl.job import Job, from_dict
from queuectl.layout import LATER, Entry
from queuectl.moves import Moves

#: Seconds after which a file in tmp/ that another host left behind is swept.
TMP_AGE = 3600

#: Jobs that one bulk enqueue makes durable together.
BULK = 1000

T = TypeVar("T")


class Claim(NamedTuple):
    """A job that one worker holds. `file` is its path from the spool and names this run for ever."""

    file: str
    name: Name
    worker: str


class Spool(Moves):
    """A spool at `path`. Making the object touches nothing; enqueue makes the directories if need be.

    `flags` are settings that beat those of the environment and of config.json.
    """

    # -- coming in

    def enqueue(self, job: Job | dict[str, Any] | str | list[str], *, hold: bool = False) -> str:
        """Put a job, its JSON object, a shell command or an argv into the queue; its id, once it is on disk."""
        return self.enqueue_all([job], hold=hold)[0]

    def enqueue_all(
        self,
        jobs: Iterable[Job | dict[str, Any] | str | list[str]],
        *,
        hold: bool = False,
        told: Callable[[list[str]], None] = lambda _: None,
    ) -> list[str]:
        """Put many jobs into the queue, or with `hold` into held/; their ids. Cheaper a job than one by one.

        `told` hears the ids of those that are on disk, block after block; those that others wait for come first.

        All are checked before the first is enqueued. If an id turns out to be taken on
        the way, IdTaken says so and the jobs before the block it was in are enqueued.
        """
        self.make()
        checked = [self._checked(job) for job in jobs]
        order = precedence.order([job for job, _ in checked])
        self._refuse_unknown([job for job, _ in checked])
        state, done = "held" if hold else "pending", [""] * len(checked)
        if hold:
            self.need(state)
        for start in range(0, len(checked), BULK):
            block = order[start : start + BULK]
            enqueued = self._enqueue_block([checked[index] for index in block], state)
            for index, id in zip(block, enqueued, strict=True):
                done[index] = id
            told(enqueued)
        return done

    def _refuse_unknown(self, jobs: list[Job]) -> None:
        """Refuse jobs that wait for a job that is neither here nor among them."""
        ours = {job.id for job in jobs}
        for id in {id: None for job in jobs for id in job.predecessors if id not in ours}:
            if not self.is_taken(id):
                raise InvalidJob(f"no job {id!r} in {self.path} to wait for; enqueue that one first", "after")

    def _checked(self, job: Job | dict[str, Any] | str | list[str]) -> tuple[Job, bytes]:
        if isinstance(job, str | list):
            job = {"command": job}
        # A Job that a program made by itself is checked, too.
        job = from_dict(job.to_dict() if isinstance(job, Job) else job)
        if job.created_at is None:
            job = job._replace(created_at=round(self.now(), 6))
        data = job.to_bytes()
        most = self.settings().max_job_size
        if len(data) > most:
            raise InvalidJob(f"the job has {len(data)} bytes and the limit is {most}; put its data into a file, or set max_job_size")
        return job, data

    def _enqueue_block(self, jobs: list[tuple[Job, bytes]], state: str) -> list[str]:
        moves: list[tuple[str, str, str]] = []
        try:
            for job, data in jobs:
                moves.append(self._prepared(job, data, state=state, many=len(jobs) > 1))
            for temporary, _, _ in moves if len(jobs) > 1 else ():
                disk.sync(temporary)
            # CRASH: dying from here on leaves ids in lists of batches that are nowhere; they are ignored.
            batches.note(self, ((job.batch, id) for (job, _), (_, _, id) in zip(jobs, moves, strict=True)))
            for temporary, target, _ in moves:
                self._publish(temporary, target)
        except BaseException:
            for (temporary, _, id), (job, _) in zip(moves, jobs, strict=False):
                if job.unique and disk.is_there(temporary):
                    unique.let_go(self, job.unique, id)
                ids.free(self.at("ids"), id, temporary)
                disk.unlink(temporary)
            raise
        disk.sync(self.at(state))
        if any(job.id for job, _ in jobs):
            disk.sync(self.at("ids"))
        for _, _, id in moves:
            self.note("enqueued", id, state=state)
        return [id for _, _, id in moves]

    def enqueue_as(self, job: Job, id: str) -> Entry:
        """Put a job that was submitted into the queue, under this id if it has none of its own."""
        job, data = self._checked(job)
        temporary, target, id = self._prepared(job, data, id)
        batches.note(self, [(job.batch, id)])
        self._publish(temporary, target)
        disk.sync(self.at("pending"))
        self.note("enqueued", id, state="pending")
        file = f"pending/{os.path.basename(target)}"
        return Entry("pending", Name(job.due(job.created_at or 0.0), job.priority, 0, id), file)

    def _prepared(
        self, job: Job, data: bytes, id: str | None = None, *, state: str = "pending", many: bool = False
    ) -> tuple[str, str, str]:
        """Write a job's file in tmp/ and hold its id: (that file, where it goes, its id). One of `many` must still be synced."""
        temporary = self.temporary()
        self._restoring(disk.write, temporary, data, many)
        id = job.id or id or ids.fresh()
        try:
            # CRASH: dying from here on leaves a link whose only other name is in tmp/; the sweep voids it.
            if job.id is not None and not self.hold_id(id, temporary):
                raise IdTaken(id, self.state_of(id))
            if job.unique:
                unique.hold(self, job.unique, id)
        except BaseException:
            ids.free(self.at("ids"), id, temporary)
            disk.unlink(temporary)
            raise
        due = job.due(job.created_at or 0.0)
        return temporary, self.at(state, encode(Name(due, job.priority, 0, id))), id

    def _publish(self, temporary: str, target: str) -> None:
        if not self._restoring(disk.rename, temporary, target):
            raise SpoolUnusable(f"{temporary} was removed while it was being enqueued; leave tmp/ alone and enqueue again")

    def _restoring(self, act: Callable[..., T], *what: Any) -> T:
        """Do it; if a directory of ours was removed, make it again and do it then."""
        try:
            return act(*what)
        except FileNotFoundError:
            self.restore()
            return act(*what)

    # -- ids that callers chose

    def hold_id(self, id: str, file: str) -> bool:
        """Make `id` the id of the job in `file` (absolute). False: another job here has it."""
        directory = self.at("ids")
        if ids.is_ours(id) and self._is_elsewhere(id, file):
            return False  # a job whose id we made has no link: only a look finds it
        if ids.hold(directory, id, file):
            return True
        if not ids.is_void(directory, id):
            self.sweep()
            if not ids.is_void(directory, id):
                return ids.hold(directory, id, file)
        with config.locked(self.at("ids", ".lock")):
            if not ids.is_void(directory, id) or self._is_elsewhere(id, file):
                return ids.hold(directory, id, file)
            disk.unlink(self.at("ids", id))
            return ids.hold(directory, id, file)

    def void(self, id: str) -> None:
        """Remove the link of an id whose job is gone."""
        with config.locked(self.at("ids", ".lock")):
            if ids.is_void(self.at("ids"), id) and not any(True for _ in self.entries_of(id)):
                disk.unlink(self.at("ids", id))

    def is_taken(self, id: str) -> bool:
        """Whether an enqueue of this id would be refused now. As cheap as one look, unless the id has our own shape."""
        if ids.is_ours(id):
            return self.state_of(id) is not None
        return disk.links(self.at("ids", id)) > 1

    def _is_elsewhere(self, id: str, file: str) -> bool:
        return any(self.at(entry.file) != file for entry in self.entries_of(id))

    # -- what the dead left

    def sweep(self, *, look_only: bool = False) -> int:
        """Remove what the dead left in tmp/, and say how many files that are; with `look_only` just say it.

        On this host a file goes when its process is gone, elsewhere after an hour. Jobs that are there because somebody
        died while renewing a directory go back.
        """
        swept = 0
        for name in disk.scan(self.at("tmp")):
            left = self._is_left(name)
            swept += left and (look_only or self._swept(self.at("tmp", name)))
        return swept

    def _swept(self, path: str) -> bool:
        if renewal.state_of(path):
            renewal.bring_back(self, path)
            return True
        try:
            return disk.unlink(path)
        except (IsADirectoryError, PermissionError):
            return False  # another program's directory

    def _is_left(self, name: str) -> bool:
        """Whether the process that made this file in tmp/ is gone."""
        pid, _, rest = name.partition("~")
        place, here = rest.split("~")[:3], host.place()
        if pid.isdigit() and place == str(here).split("~"):
            return not host.is_running(int(pid))
        if len(place) == 3 and place[0] == here.host and place[1] != here.boot[:8] and not host.is_shared(self.path):
            return True  # of an earlier boot of this host
        modified = disk.modified(self.at("tmp", name))
        return modified is not None and self.now() - modified > TMP_AGE

    # -- one verb, one rename

    def claim(self, file: str, worker: str, now: float) -> Claim | None:
        """Take the job at `file` for `worker`: its attempt counts from here. None: somebody else has it."""
        found = claimed(file.rpartition("/")[2], now)
        if found is None:
            return None
        name, text = found
        target = f"processing/{worker}/{text}"
        if not disk.rename(f"{self.path}/{file}", f"{self.path}/{target}"):
            return None  # RACE: another worker won; nothing to do
        self.note("claimed", name.id, state="processing", was=file, attempt=name.attempts, worker=worker)
        return Claim(target, name, worker)

    def target(self, claim: Claim, state: str, due: float) -> str:
        """Where `file` will put a claimed job, as a path from the spool: the record says it beforehand."""
        return f"{state}/{retimed(claim.name, due)}"

    def file(self, claim: Claim, target: str) -> bool:
        """Complete, retry or bury a claimed job. False: another worker rescued it meanwhile, and it is no longer ours."""
        return disk.rename(f"{self.path}/{claim.file}", f"{self.path}/{target}")

    def release(self, claim: Claim) -> bool:
        """Give a claimed job back as if it had never been claimed, due since then."""
        target = f"pending/{encode(claim.name._replace(attempts=max(0, claim.name.attempts - 1)))}"
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
        disk.append(self.at("rejected", kept + ".reason"), reason.encode(errors="surrogateescape") + b"\n")
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
