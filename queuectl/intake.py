"""Intake: how jobs that programs give us come into the queue, one or many, and what those leave who die on the way.

A job is written whole in tmp/ and then moved to where it belongs, so nobody ever sees half of one.

Promises
    enqueue returns only when the job is on disk.
    One id, one job: an id that a caller chose is refused while its job is here.
Leaves to others
    files that programs drop by themselves (admission); what happens to a job from then on (spool).
Raises
    InvalidJob, IdTaken, KeyTaken, SpoolMissing, SpoolUnusable, SpoolVersion, ConfigDamaged, Locked; OSError with the
    path when the disk refuses.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from queuectl import batches, disk, host, ids, precedence, renewal, unique
from queuectl.errors import IdTaken, InvalidJob, SpoolUnusable
from queuectl.filename import Name, encode
from queuectl.job import Job, from_dict, record_of
from queuectl.layout import Entry
from queuectl.moves import Moves
from queuectl.strict import kind

#: Seconds after which a file in tmp/ that another host left behind is swept.
TMP_AGE = 3600

#: Jobs that one bulk enqueue makes durable together.
BULK = 1000

#: What the name of a list in tmp/ ends in that says which jobs a prune may remove, and its most bytes.
DOOMED, LONGEST = ".doomed", 1 << 30

#: Files that are synced at the same time, if there are as many as this is worth.
AT_ONCE, MANY = 8, 64

T = TypeVar("T")

#: What may be enqueued: a job, its JSON object, a shell command, an argv, or the path of a program.
Wanted = Job | dict[str, Any] | str | Sequence[str | os.PathLike[str]] | os.PathLike[str]


class Intake(Moves):
    """A spool that jobs can come into."""

    # -- coming in

    def enqueue(self, job: Wanted, *, hold: bool = False) -> str:
        """Put a job, its JSON object, a shell command or an argv into the queue; its id, once it is on disk."""
        self.make()
        job, data = self.checked(job)
        if job.predecessors:
            precedence.order([job])
        if hold:
            self.need("held")
        return self._put(job, data, state="held" if hold else "pending").name.id

    def enqueue_all(
        self,
        jobs: Iterable[Wanted],
        *,
        hold: bool = False,
        told: Callable[[list[str]], None] = lambda _: None,
    ) -> list[str]:
        """Put many jobs into the queue, or with `hold` into held/; their ids. Cheaper a job than one by one.

        `told` hears the ids of those that are on disk, block after block; those that others wait for come first.

        All are checked before the first is enqueued. If something fails on the way, such as an id
        that turns out to be taken, those that `told` has heard of are enqueued, and no others.
        """
        if isinstance(jobs, Job | Mapping | str | bytes) or not isinstance(jobs, Iterable):
            raise InvalidJob(f"enqueue_all takes a list of jobs, not {kind(jobs)}", "jobs")
        checked = []
        for number, job in enumerate(jobs, 1):
            try:
                checked.append(self.checked(job))
            except InvalidJob as error:
                error.args = (f"job {number}: {error}",)
                raise
        return self.enqueue_checked(checked, hold=hold, told=told)

    def enqueue_checked(
        self,
        checked: list[tuple[Job, bytes]],
        *,
        hold: bool = False,
        told: Callable[[list[str]], None] = lambda _: None,
    ) -> list[str]:
        """As `enqueue_all`, for what `checked` answered for each job."""
        self.make()
        jobs = [job for job, _ in checked]
        order = precedence.order(jobs)
        if len(checked) > BULK:  # else nothing is in the queue before the only block is checked
            self._refuse_unknown(jobs)
        state, done = "held" if hold else "pending", [""] * len(checked)
        if hold:
            self.need(state)
        for start in range(0, len(checked), BULK):
            block = order[start : start + BULK]
            enqueued: list[str] = []
            try:
                self._enqueue_block([checked[index] for index in block], state, enqueued)
            finally:
                if enqueued:
                    told(enqueued)
            for index, id in zip(block, enqueued, strict=True):
                done[index] = id
        return done

    def _refuse_unknown(self, jobs: list[Job]) -> None:
        """Refuse jobs that wait for a job that is neither here nor among them."""
        named = dict.fromkeys(id for job in jobs for id in job.predecessors)
        if not named:
            return
        self.need("blocked")  # where there is none, a prune reads no waiting jobs
        ours = {job.id for job in jobs}
        if id := self.missing(id for id in named if id not in ours):
            raise InvalidJob(
                f"no job {id!r} in {self.path} to wait for; enqueue that one first", "after"
            )

    # -- jobs that others wait for, and the prune

    def missing(self, ids: Iterable[str]) -> str | None:
        """The first of these ids that no job has, or only a job that is being pruned.

        RACE: a job that waits must be in tmp/ or in its state before this is asked, and a prune looks for such jobs
        after it has said what it may remove. So one of the two sees the other: the prune leaves what the job
        waits for, or the job is refused.
        """
        doomed = self._doomed()
        return next((id for id in ids if id in doomed or not self.is_taken(id)), None)

    def _doomed(self) -> set[str]:
        """The ids of jobs that prunes may remove just now."""
        found: set[str] = set()
        for name in disk.scan(self.at("tmp")):
            if name.endswith(DOOMED) and not self._is_left(name):
                with suppress(FileNotFoundError):  # RACE: it has just ended; what is gone is gone
                    found.update(disk.read(self.at("tmp", name), LONGEST).data.decode().split())
        return found

    @contextmanager
    def dooming(self, ids: Iterable[str]) -> Iterator[None]:
        """In this block jobs with these ids may be removed, unless a job waits for them."""
        temporary = self.temporary()
        said = temporary + DOOMED
        disk.write(temporary, "\n".join(ids).encode(), durable=False)
        disk.rename(temporary, said)
        # CRASH: the list of a dead prune counts no more, and is swept with tmp/.
        try:
            yield
        finally:
            disk.unlink(said)

    def checked(self, job: Wanted) -> tuple[Job, bytes]:
        """A job that may come in now, and what its file says; else InvalidJob."""
        # A Job that a program made by itself is checked, too.
        job = from_dict(job if isinstance(job, dict) else record_of(job), came=self.now())
        data = job.to_bytes()
        most = self.settings().max_job_size
        if len(data) > most:
            raise InvalidJob(
                f"the job has {len(data)} bytes and the limit is {most}; put its data into a file, or set max_job_size"
            )
        return job, data

    def _enqueue_block(
        self, jobs: list[tuple[Job, bytes]], state: str, enqueued: list[str]
    ) -> None:
        """Enqueue these; the ids of those that are on disk, all unless there is an error, are added to `enqueued`."""
        published: list[str] = []
        prepared: list[tuple[Job, str, Entry]] = []
        try:
            for job, data in jobs:
                prepared.append((job, *self._prepared(job, data, state=state, many=True)))
            _sync([temporary for _, temporary, _ in prepared])
            self._refuse_unknown([job for job, _, _ in prepared])
            # CRASH: dying from here on leaves ids in lists of batches that are nowhere; they are ignored.
            batches.note(self, ((job.batch, entry.name.id) for job, _, entry in prepared))
            for _, temporary, entry in prepared:
                self._publish(temporary, entry.file)
                published.append(entry.name.id)
        except BaseException:
            for job, temporary, entry in prepared:
                self._take_back(job, temporary, entry.name.id)
            raise
        finally:
            if published:
                self._settle(state, any(job.id for job, _ in jobs), published)
                enqueued += published

    def enqueue_as(self, job: Job, id: str) -> Entry:
        """Put a job that was submitted into the queue, under this id if it has none of its own."""
        return self._put(*self.checked(job), id)

    def _put(
        self, job: Job, data: bytes, id: str | None = None, *, state: str = "pending"
    ) -> Entry:
        """Put one job that was checked into the queue."""
        temporary, entry = self._prepared(job, data, id, state=state)
        try:
            if job.predecessors:
                self._refuse_unknown([job])
            if job.batch:
                batches.note(self, [(job.batch, entry.name.id)])
            self._publish(temporary, entry.file)
        except BaseException:
            self._take_back(job, temporary, entry.name.id)
            raise
        self._settle(state, job.id is not None, [entry.name.id])
        return entry

    def _settle(self, state: str, is_chosen: bool, ids: list[str]) -> None:
        """Make durable and tell of what was published."""
        disk.sync(f"{self.path}/{state}")
        if is_chosen:
            disk.sync(self.at("ids"))
        for id in ids:
            self.note("enqueued", id, state=state)

    def _take_back(self, job: Job, temporary: str, id: str) -> None:
        """Undo what was prepared for a job; one that was published already stays."""
        if job.unique and disk.is_there(temporary):
            unique.let_go(self, job.unique, id)
        self._discard(temporary, id)

    def _discard(self, temporary: str, id: str) -> None:
        """Remove a job's file in tmp/; its id is free again."""
        ids.free(self.at("ids"), id, temporary)
        disk.unlink(temporary)

    def _prepared(
        self, job: Job, data: bytes, id: str | None = None, *, state: str, many: bool = False
    ) -> tuple[str, Entry]:
        """Write a job's file in tmp/ and hold its id: that file, and what it will be. One of `many` must still be synced."""
        # All that can be thought of first is: an fsync leaves the caches cold.
        temporary, id = self.temporary(), job.id or id or ids.fresh()
        name = Name(job.due(job.created_at or 0.0), job.priority, 0, id)
        entry = Entry(state, name, f"{state}/{encode(name)}")
        self._restoring(disk.write, temporary, data, many)
        if job.id is not None or job.unique:
            self._hold(job, id, temporary)
        return temporary, entry

    def _hold(self, job: Job, id: str, temporary: str) -> None:
        try:
            # CRASH: dying from here on leaves a link whose only other name is in tmp/; the sweep voids it.
            if job.id is not None and not self.hold_id(id, temporary):
                raise IdTaken(id, self.state_of(id))
            if job.unique:
                unique.hold(self, job.unique, id)
        except BaseException:
            self._discard(temporary, id)
            raise

    def _publish(self, temporary: str, file: str) -> None:
        if not self._restoring(disk.rename, temporary, f"{self.path}/{file}"):
            raise SpoolUnusable(
                f"{temporary} was removed while it was being enqueued; leave tmp/ alone and enqueue again"
            )

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
        if not self._is_free(id, file):
            self.sweep()
            if not self._is_free(id, file):
                return ids.hold(directory, id, file)
        with self.locked("ids", ".lock"):
            if not self._is_free(id, file) or self._is_elsewhere(id, file):
                return ids.hold(directory, id, file)
            # CRASH: dying here leaves a job without a link; its claim and the doctor make it.
            disk.unlink(self.at("ids", id))
            return ids.hold(directory, id, file)

    def _is_free(self, id: str, file: str) -> bool:
        """Whether a link to `file` may replace the link of `id`.

        Either the job of the link is gone. Or it is the job in `file`: a copy of the spool, or an
        overlay, made two files of one.
        """
        directory = self.at("ids")
        return ids.is_void(directory, id) or (
            ids.is_copy(directory, id, file) and self._is_alone(id, file)
        )

    def _is_alone(self, id: str, file: str) -> bool:
        """Whether the job `id` is in `file` and nowhere else, seen twice: a listing can miss a file that moves."""
        return all(
            [self.at(entry.file) for entry in self.entries_of(id)] == [file] for _ in range(2)
        )

    def void(self, id: str) -> None:
        """Remove the link of an id whose job is gone."""
        with self.locked("ids", ".lock"):
            if ids.is_void(self.at("ids"), id) and not any(True for _ in self.entries_of(id)):
                disk.unlink(self.at("ids", id))

    def is_taken(self, id: str) -> bool:
        """Whether an enqueue of this id would be refused now.

        As cheap as one look, unless the id has our own shape or its link is the last name of a file.
        """
        links = 1 if ids.is_ours(id) else disk.links(self.at("ids", id))
        return links > 1 or (links == 1 and self.state_of(id) is not None)

    def refuse_taken(self, id: str) -> None:
        """Raise IdTaken if an enqueue of this id would be refused now; one that only a dead enqueuer holds is free."""
        if self.is_taken(id):
            state = self.state_of(id)
            if state or not self.sweep() or self.is_taken(id):
                raise IdTaken(id, state)

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
        modified = disk.modified(self.at("tmp", name))
        if modified is None:
            return False
        is_of_another_boot = len(place) == 3 and place[0] == here.host and place[1] != here.boot[:8]
        if is_of_another_boot and not self.is_shared and modified <= host.booted_at():
            return True
        return abs(self.now() - modified) > TMP_AGE


def _sync(paths: list[str]) -> None:
    """Make these files durable. Each sync asks the disk to empty its cache, and those that ask while it does so are served together."""
    import threading  # for many files only

    left, errors = deque(paths), list[BaseException]()

    def help_out() -> None:
        try:
            _sync_each(left)
        except BaseException as error:
            errors.append(error)
            left.clear()

    helpers = (
        [threading.Thread(target=help_out) for _ in range(AT_ONCE - 1)]
        if len(paths) >= MANY
        else []
    )
    started = []
    try:
        with suppress(
            RuntimeError
        ):  # no thread more for this user, or the program is ending: the rest is ours
            for helper in helpers:
                helper.start()
                started.append(helper)
        _sync_each(left)
    finally:
        left.clear()  # whoever interrupts us waits for one file of each
        for helper in started:
            helper.join()
    if errors:
        raise errors[0]


def _sync_each(left: deque[str]) -> None:
    while True:
        try:
            path = left.popleft()
        except IndexError:
            return
        disk.sync(path)
