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

import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from queuectl import config, disk, host, ids, results
from queuectl.errors import IdTaken, InvalidJob, SpoolMissing, SpoolUnusable, SpoolVersion
from queuectl.filename import MOST_ATTEMPTS, STAMP, Name, decode, encode, fitted, is_drop, stamp
from queuectl.job import Job, from_dict, load

#: The states, in the order of a job's life; each is the name of its directory.
STATES = ("pending", "processing", "failed", "completed", "dead")

#: The other directories of a spool.
BESIDE = ("rejected", "results", "logs", "workers", "ids", "tmp")

#: The format that this program reads and writes.
VERSION = 1

#: Jobs that one bulk enqueue makes durable together.
BULK = 1000

#: Seconds after which a file in tmp/ that another host left behind is swept.
TMP_AGE = 3600

T = TypeVar("T")

_serial = itertools.count()


class Entry(NamedTuple):
    """A job file as a listing shows it. `file` is its path from the spool; `worker` whose it is in processing/."""

    state: str
    name: Name
    file: str
    worker: str | None = None


class Claim(NamedTuple):
    """A job that one worker holds. `file` is its path from the spool and names this run for ever."""

    file: str
    name: Name
    worker: str


class Spool:
    """A spool at `path`. Making the object touches nothing; enqueue makes the directories if need be.

    `flags` are settings that beat those of the environment and of config.json.
    """

    def __init__(self, path: str | os.PathLike[str], flags: Mapping[str, Any] | None = None) -> None:
        self.path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        self._flags = flags or {}
        self._live: config.Live | None = None

    def at(self, *parts: str) -> str:
        """The absolute path of something in the spool."""
        return os.path.join(self.path, *parts)

    # -- the spool itself

    def open(self) -> Spool:
        """Check that there is a spool here that we can read."""
        try:
            data = disk.read(self.at("spool.json"), 65536).data
        except FileNotFoundError:
            self._refuse_foreign()
            raise SpoolMissing(self.path) from None
        except NotADirectoryError:
            raise SpoolUnusable(f"{self.path} is not a directory; name another with --spool") from None
        except OSError as error:
            raise SpoolUnusable(f"cannot read {self.at('spool.json')} ({error.strerror}); run as the spool's owner") from None
        self._check_version(data)
        return self

    def _check_version(self, data: bytes) -> None:
        try:
            record = load(data)
            version = record.get("version") if isinstance(record, dict) else None
        except InvalidJob:
            version = None
        if version != VERSION or isinstance(version, bool):
            raise SpoolVersion(
                f"{self.at('spool.json')} says version {version!r}, and this queuectl knows only {VERSION}; "
                "use the queuectl that made this spool"
            )

    def make(self) -> Spool:
        """Make the spool if there is none here; then as `open`."""
        try:
            return self.open()
        except SpoolMissing:
            pass
        try:
            disk.make_all(self.path)
            for name in (*STATES, *BESIDE):
                disk.make(self.at(name))
            temporary = self.temporary()
            disk.write(temporary, json.dumps({"version": VERSION}).encode() + b"\n")
            # CRASH: spool.json comes last, so a spool that has it is whole; another `make` finishes this one.
            disk.replace(temporary, self.at("spool.json"))
            disk.sync(self.path)
        except OSError as error:
            raise SpoolUnusable(f"cannot make a spool at {self.path} ({error.strerror}); name another with --spool") from None
        return self

    def _refuse_foreign(self) -> None:
        """A directory that holds other things is not ours to fill."""
        known = {*STATES, *BESIDE, "config.json", "config.json.lock"}
        try:
            foreign = [name for name in disk.scan(self.path) if name not in known]
        except NotADirectoryError:
            raise SpoolUnusable(f"{self.path} is not a directory; name another with --spool") from None
        except OSError as error:
            raise SpoolUnusable(f"cannot read {self.path} ({error.strerror}); run as its owner") from None
        if foreign:
            raise SpoolUnusable(f"{self.path} is no spool and holds other files, such as {foreign[0]!r}; name another with --spool")

    def restore(self) -> None:
        """Make those directories again that somebody has removed."""
        for name in (*STATES, *BESIDE):
            disk.make(self.at(name))

    def settings(self) -> config.Settings:
        """The settings in force now."""
        if self._live is None:
            self._live = config.Live(self.at("config.json"), self._flags)
        return self._live.look()

    def temporary(self) -> str:
        """A new path in tmp/ that says whose it is."""
        return self.at("tmp", f"{os.getpid()}~{host.place()}~{next(_serial)}{host.nonce()}")

    def sweep(self) -> int:
        """Remove what the dead left in tmp/, and say how many files that were.

        On this host a file goes when its process is gone, elsewhere after an hour.
        """
        swept = 0
        for name in disk.scan(self.at("tmp")):
            path = self.at("tmp", name)
            pid, _, rest = name.partition("~")
            if rest.startswith(f"{host.place()}~") and pid.isdigit():
                left = not host.is_running(int(pid))
            else:
                modified = disk.modified(path)
                left = modified is not None and time.time() - modified > TMP_AGE
            swept += left and disk.unlink(path)
        return swept

    # -- coming in

    def enqueue(self, job: Job | dict[str, Any] | str | list[str]) -> str:
        """Put a job, its JSON object, a shell command or an argv into the queue; its id, once it is on disk."""
        return self.enqueue_all([job])[0]

    def enqueue_all(self, jobs: Iterable[Job | dict[str, Any] | str | list[str]]) -> list[str]:
        """Put many jobs into the queue; their ids. Cheaper a job than one by one.

        All are checked before the first is enqueued. If an id turns out to be taken on
        the way, IdTaken says so and the jobs before the block it was in are enqueued.
        """
        self.make()
        checked = [self._checked(job) for job in jobs]
        done: list[str] = []
        for start in range(0, len(checked), BULK):
            done += self._enqueue_block(checked[start : start + BULK])
        return done

    def _checked(self, job: Job | dict[str, Any] | str | list[str]) -> tuple[Job, bytes]:
        if isinstance(job, str | list):
            job = {"command": job}
        if not isinstance(job, Job):
            job = from_dict(job)
        if job.created_at is None:
            job = replace(job, created_at=round(time.time(), 6))
        data = job.to_bytes()
        most = self.settings().max_job_size
        if len(data) > most:
            raise InvalidJob(f"the job has {len(data)} bytes and the limit is {most}; put its data into a file, or set max_job_size")
        return job, data

    def _enqueue_block(self, jobs: list[tuple[Job, bytes]]) -> list[str]:
        moves: list[tuple[str, str, str]] = []
        try:
            for job, data in jobs:
                moves.append(self._prepared(job, data))
            for temporary, target, _ in moves:
                self._publish(temporary, target)
        except BaseException:
            for temporary, _, id in moves:
                ids.free(self.at("ids"), id, temporary)
                disk.unlink(temporary)
            raise
        disk.sync(self.at("pending"))
        if any(job.id for job, _ in jobs):
            disk.sync(self.at("ids"))
        return [id for _, _, id in moves]

    def _prepared(self, job: Job, data: bytes) -> tuple[str, str, str]:
        """Write a job's file in tmp/ and hold its id: (that file, where it goes, its id)."""
        temporary = self.temporary()
        self._restoring(lambda: disk.write(temporary, data))
        id = job.id or ids.fresh()
        try:
            # CRASH: dying from here on leaves a link whose only other name is in tmp/; the sweep voids it.
            if job.id is not None and not self.hold_id(id, temporary):
                raise IdTaken(id, self.state_of(id))
        except BaseException:
            disk.unlink(temporary)
            raise
        due = job.due(job.created_at or 0.0)
        return temporary, self.at("pending", encode(Name(due, job.priority, 0, id))), id

    def _publish(self, temporary: str, target: str) -> None:
        if not self._restoring(lambda: disk.rename(temporary, target)):
            raise SpoolUnusable(f"{temporary} was removed while it was being enqueued; leave tmp/ alone and enqueue again")

    def _restoring(self, act: Callable[[], T]) -> T:
        """Do it; if a directory of ours was removed, make it again and do it then."""
        try:
            return act()
        except FileNotFoundError:
            self.restore()
            return act()

    # -- ids that callers chose

    def hold_id(self, id: str, file: str) -> bool:
        """Make `id` the id of the job in `file` (absolute). False: another job here has it."""
        directory = self.at("ids")
        if ids.is_ours(id):
            # Jobs of ours have no link, so only a look tells whether this one was chosen before.
            return not self._is_elsewhere(id, file)
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

    def is_taken(self, id: str) -> bool:
        """Whether an enqueue of this id would be refused now. As cheap as one look, unless the id has our own shape."""
        if ids.is_ours(id):
            return self.state_of(id) is not None
        return disk.links(self.at("ids", id)) > 1

    def _is_elsewhere(self, id: str, file: str) -> bool:
        return any(self.at(entry.file) != file for entry in self.entries_of(id))

    def entries_of(self, id: str) -> Iterator[Entry]:
        """The files of the job `id`: one, unless somebody made a copy. Reads names only."""
        end = f"-{id}.json"
        for state in STATES:
            yield from (entry for entry in self.entries(state, end) if entry.name.id == id)

    def state_of(self, id: str) -> str | None:
        """The state of the job `id`, or None if it is not here."""
        return next((entry.state for entry in self.entries_of(id)), None)

    # -- looking at names

    def names(self, state: str) -> Iterator[str]:
        """The names in the directory of a state, as they come; a listing is a sample while others move files."""
        return disk.scan(self.at(state))

    def workers(self) -> list[str]:
        """The names in processing/: everybody who has a directory there."""
        return sorted(disk.scan(self.at("processing")))

    def held_by(self, worker: str) -> list[str]:
        """The names in the directory of one worker."""
        try:
            return sorted(disk.scan(self.at("processing", worker)))
        except NotADirectoryError:
            return []

    def entries(self, state: str, end: str = ".json") -> Iterator[Entry]:
        """The jobs in a state whose names end in `end`; drops that no worker has admitted are not among them."""
        places = [(f"{state}", None)]
        if state == "processing":
            places = [(f"processing/{worker}", worker) for worker in self.workers()]
        for directory, worker in places:
            for text in self.held_by(worker) if worker else self.names(state):
                name = decode(text) if text.endswith(end) else None
                if name is not None:
                    yield Entry(state, name, f"{directory}/{text}", worker)

    def drops(self) -> list[str]:
        """The names in pending/ of files that no worker has admitted yet."""
        return sorted(text for text in self.names("pending") if is_drop(text) and decode(text) is None)

    def count(self, state: str) -> int:
        """How many jobs are in a state; drops count as pending. Reads names only."""
        if state == "processing":
            return sum(is_drop(text) for worker in self.workers() for text in self.held_by(worker))
        return sum(is_drop(text) for text in self.names(state))

    # -- one verb, one rename

    def claim(self, file: str, worker: str, now: float) -> Claim | None:
        """Take the job at `file` for `worker`: its attempt counts from here. None: somebody else has it."""
        old = decode(os.path.basename(file))
        if old is None:
            return None
        name = Name(now, old.priority, min(old.attempts + 1, MOST_ATTEMPTS), old.id)
        target = f"processing/{worker}/{encode(name)}"
        # RACE: another worker won; nothing to do.
        return Claim(target, name, worker) if disk.rename(self.at(file), self.at(target)) else None

    def target(self, claim: Claim, state: str, due: float) -> str:
        """Where `file` will put a claimed job, as a path from the spool: the record says it beforehand."""
        return f"{state}/{encode(claim.name._replace(time=due))}"

    def file(self, claim: Claim, target: str) -> bool:
        """Complete, retry or bury a claimed job. False: another worker rescued it meanwhile, and it is no longer ours."""
        return disk.rename(self.at(claim.file), self.at(target))

    def release(self, claim: Claim) -> bool:
        """Give a claimed job back as if it had never been claimed, due since then."""
        name = claim.name._replace(attempts=max(0, claim.name.attempts - 1))
        return disk.rename(self.at(claim.file), self.at("pending", encode(name)))

    def sync_outcome(self, id: str, state: str) -> None:
        """Make a job's last record and move survive a power cut."""
        disk.sync(results.path(self.at("results"), id))
        disk.sync(self.at("results"))
        disk.sync(self.at("processing"))
        disk.sync(self.at(state))

    def move(self, entry: Entry, state: str, name: Name) -> Entry | None:
        """Move a job that no worker holds, durably. None: it was not there any more."""
        target = f"{state}/{encode(name)}"
        if not disk.rename(self.at(entry.file), self.at(target)):
            return None
        disk.sync(self.at(entry.state))
        disk.sync(self.at(state))
        return Entry(state, name, target)

    def reject(self, file: str, reason: str, name: str | None = None) -> bool:
        """Set aside what is no job: its bytes untouched, the reason beside it. False: it was not there any more."""
        kept = fitted(f"{stamp(time.time())}-", name or os.path.basename(file), 240)
        disk.append(self.at("rejected", kept + ".reason"), reason.encode(errors="surrogateescape") + b"\n")
        if disk.rename(self.at(file), self.at("rejected", kept)):
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
        return True

    def logs(self, id: str, attempts: int) -> Iterator[str]:
        """The absolute paths of all logs that job `id` can have after so many attempts."""
        attempts = max([attempts, *(run.get("attempt", 0) for run in results.read(self.at("results"), id))])
        for attempt in range(1, attempts + 1):
            yield self.log(id, attempt, "out")
            yield self.log(id, attempt, "err")

    def log(self, id: str, attempt: int, stream: str) -> str:
        """The absolute path of what attempt number `attempt` printed to `stream`, "out" or "err"."""
        return self.at("logs", f"{id}.{attempt}.{stream}")
