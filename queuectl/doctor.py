"""The doctor: what is wrong with a spool, and mending it.

Each check is a function that yields findings; those that can be mended carry the act
that does it. A check looks twice before it believes in something that workers could
have moved between two looks, so it may run beside them.

Promises
    Without `fix` nothing is changed, but for files of the doctor's own in tmp/ that it removes.
    Mending loses no job: what stands in the way of another is set aside in rejected/.
Leaves to others
    printing (cli).
Raises
    SpoolError if there is no spool to look at.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from queuectl import config, disk, host, ids, liveness, lookup, probe, renewal, results, units
from queuectl.build import build
from queuectl.errors import IdTaken, InvalidJob, Locked, QueuectlError, ScheduleDamaged
from queuectl.job import parse
from queuectl.layout import ENDED, LATER, MADE, SKEW, STATES, WAITING, Entry
from queuectl.spool import Spool

#: Seconds for which a file without a job is left alone: the job may be just moving.
YOUNG = 60

#: Bytes of the largest job file that is looked into; max_job_size may have been lowered since it came.
LARGEST_JOB = 1024**3

#: Bytes of a directory of few names above which listing it is slow: it once held very many.
HUGE = 4 * 1024 * 1024

#: Names below which a large directory counts as once huge.
FEW = 10_000


class Finding(NamedTuple):
    """Something that is wrong. `mend` puts it right; None: a person must."""

    check: str
    what: str
    cure: str
    mend: Callable[[], Any] | None = None


class Report(NamedTuple):
    """A finding after the doctor's visit."""

    check: str
    what: str
    cure: str
    fixed: bool


def examine(spool: Spool, *, fix: bool) -> list[Report]:
    """Everything that is wrong with the spool; with `fix` it is mended where that can be done."""
    spool.open()
    found = []
    for check in CHECKS:
        try:
            findings = list(check(spool))
        except (OSError, QueuectlError) as error:
            findings = [
                Finding(
                    check.__name__,
                    f"cannot be checked: {error}",
                    "mend what it names and look again",
                )
            ]
        found += [_treat(finding, fix=fix) for finding in findings]
    return found


def _treat(finding: Finding, *, fix: bool) -> Report:
    cure = finding.cure
    fixed = False
    if fix and finding.mend:
        try:
            finding.mend()
            fixed = True
        except (OSError, QueuectlError) as error:
            cure = f"it could not be mended ({error})"
    return Report(finding.check, finding.what, cure, fixed)


def directories(spool: Spool) -> Iterator[Finding]:
    """Directories that are not there, or that we may not change."""
    for name in MADE:
        if not disk.is_there(spool.at(name)):
            yield Finding(
                "directories", f"{spool.at(name)} is missing", "--fix makes it", spool.restore
            )
        elif not os.access(spool.at(name), os.R_OK | os.W_OK | os.X_OK):
            what = f"user {os.geteuid()} cannot change what is in {spool.at(name)}"
            yield Finding(
                "directories", what, "run as the owner of the spool; as the owner: chmod u+rwx"
            )


def modes(spool: Spool) -> Iterator[Finding]:
    """Directories that others may look into, or worse, write to."""
    for path in [spool.path, *(spool.at(name) for name in (*MADE, *LATER))]:
        mode = disk.mode(path)
        allowed = 0o010 if path == spool.path and disk.is_there(spool.at("inbox")) else 0
        if mode is not None and mode & 0o077 & ~allowed:
            what = f"{path} is open to others (mode {mode & 0o7777:o}): who can write there runs commands as you"
            yield Finding(
                "modes", what, "--fix makes it private", partial(disk.close_to_others, path)
            )


def settings(spool: Spool) -> Iterator[Finding]:
    """A config.json that cannot be read."""
    try:
        config.settle(spool.at("config.json"), {})
    except QueuectlError as error:
        yield Finding("settings", str(error), "correct the file, or remove it to use the defaults")


def locks(spool: Spool) -> Iterator[Finding]:
    """Lock files that another process does not let go of."""
    for parts in (("config.json.lock",), ("ids", ".lock")):
        path = config.lock_file(spool.at(*parts), shared=spool.is_shared)
        try:
            # The lock's library takes its time to load; a look says as well that nobody has the lock.
            if disk.is_there(path) and (spool.is_shared or disk.is_held(path)):
                with spool.locked(*parts, patience=1.0):
                    pass
        except Locked:
            yield Finding(
                "locks", f"{path} is held by another process", config.UNLOCK.format(path=path)
            )


def leftovers(spool: Spool) -> Iterator[Finding]:
    """Files in tmp/ of processes that are gone."""
    count = spool.sweep(look_only=True)
    if count:
        yield Finding(
            "leftovers",
            f"{count} files in {spool.at('tmp')} were left by processes that are gone",
            "--fix removes them",
            spool.sweep,
        )


def orphans(spool: Spool) -> Iterator[Finding]:
    """Jobs and records of workers that are dead."""
    observer = liveness.Observer(spool)
    for worker, record in liveness.records(spool):
        if not observer.is_alive(worker, record):
            from queuectl import recovery  # most spools have no dead worker

            jobs = sum(name.endswith(".json") for name in spool.held_by(worker))
            what = f"worker {worker} is dead and left {jobs} jobs"
            yield Finding(
                "orphans",
                what,
                "--fix moves them on, and so does any 'worker start'",
                partial(recovery.rescue_worker, spool, worker, record),
            )


def stillborn(spool: Spool) -> Iterator[Finding]:
    """Files in workers/ of those who are gone, beside the records of workers."""
    count = len(liveness.leftovers(spool))
    if count:
        what = f"{count} files in {spool.at('workers')} were left by workers and supervisors that are gone"
        yield Finding("stillborn", what, "--fix removes them", partial(liveness.sweep, spool))


def duplicates(spool: Spool) -> Iterator[Finding]:
    """Ids with more than one file: somebody made a copy, or copied the spool while it was in use."""
    seen, told = set[str](), set[str]()
    for entry in _all(spool):
        id = entry.name.id
        if id in seen and id not in told:
            told.add(id)
            *others, kept = sorted(_places(spool, id), key=_progress) or [entry]
            yield from (_duplicate(spool, kept, other) for other in others)
        seen.add(id)


def _places(spool: Spool, id: str) -> list[Entry]:
    """The files of a job that are there at one moment: a name that is gone never comes back."""
    found = list({entry.file: entry for entry in spool.entries_of(id)}.values())
    for _ in range(2):
        found = [entry for entry in found if disk.is_there(spool.at(entry.file))]
    return found


def _progress(entry: Entry) -> tuple[bool, int, int]:
    """How far a job has come in this place: an end counts most, then the attempts, then the order of the states."""
    return entry.state in ENDED, entry.name.attempts, STATES.index(entry.state)


def _duplicate(spool: Spool, kept: Entry, other: Entry) -> Finding:
    ours, theirs, id = spool.at(kept.file), spool.at(other.file), kept.name.id
    what = f"job {id} is in {kept.file} and in {other.file}"
    for entry in (kept, other):
        if entry.worker and _may_live(spool, entry.worker):
            cure = f"worker {entry.worker} runs it: look again when it has ended"
            return Finding("duplicates", what, cure)
    if disk.is_same(ours, theirs):
        cure = "--fix removes the earlier name of this one file"
        return Finding("duplicates", what, cure, partial(disk.unlink, theirs))
    is_copy = disk.is_equal(ours, theirs)
    why = f"{'a copy' if is_copy else 'another job with this id'}: the job {id} is in {kept.file}"
    if not is_copy:
        what += ", and the two differ"
    cure = "--fix sets the earlier one aside in rejected/"
    return Finding("duplicates", what, cure, partial(spool.reject, other.file, why))


def _may_live(spool: Spool, worker: str) -> bool:
    return liveness.Observer(spool).is_alive(worker, liveness.read(spool, worker))


def links(spool: Spool) -> Iterator[Finding]:
    """Links in ids/ whose job is gone, and jobs whose link is missing."""
    for id in disk.scan(spool.at("ids")):
        if (
            not id.startswith(".")
            and ids.is_void(spool.at("ids"), id)
            and not list(spool.entries_of(id))
        ):
            yield Finding(
                "links",
                f"{spool.at('ids', id)} belongs to no job",
                "--fix removes it",
                partial(spool.void, id),
            )
    places = Counter(entry.name.id for entry in _all(spool))
    for entry in _all(spool):
        path, link, id = spool.at(entry.file), spool.at("ids", entry.name.id), entry.name.id
        if ids.is_ours(id) or disk.is_same(path, link) or not disk.is_there(path):
            continue
        what = f"job {id} has no link in ids/"
        if disk.is_there(link):
            if places[id] > 1:
                continue  # see `duplicates`
            what = f"job {id} and its link in ids/ are two files: a copy made two of one"
        yield Finding("links", what, "--fix makes it", partial(_hold, spool, id, path))


def _hold(spool: Spool, id: str, path: str) -> None:
    if not spool.hold_id(id, path):
        raise IdTaken(id, None)


def records(spool: Spool) -> Iterator[Finding]:
    """Histories and logs without a job, and ended jobs without a history."""
    known = {entry.name.id for entry in _all(spool)}
    for directory in ("results", "logs"):
        for name in disk.scan(spool.at(directory)):
            id = name.removesuffix(".jsonl") if directory == "results" else name.rsplit(".", 2)[0]
            ours = (
                name.endswith(".jsonl")
                if directory == "results"
                else name.endswith((".out", ".err"))
            )
            path = spool.at(directory, name)
            if ours and id not in known and _is_abandoned(spool, id, path):
                yield Finding(
                    "records",
                    f"{path} belongs to no job",
                    "--fix removes it",
                    partial(disk.unlink, path),
                )
    for state in ENDED:
        for entry in spool.entries(state):
            if not results.read(spool.at("results"), entry.name.id):
                yield Finding(
                    "records",
                    f"job {entry.name.id} is {state} and has no record",
                    "nothing to mend: its story is lost, the job is not",
                )


def _is_abandoned(spool: Spool, id: str, path: str) -> bool:
    """Whether a file of a job's history has no job: seen twice, since a job can move against the order of a look, and not young."""
    return (
        liveness.age_of(path) > YOUNG and spool.state_of(id) is None and spool.state_of(id) is None
    )


def unreadable(spool: Spool) -> Iterator[Finding]:
    """Files under a full name that are no jobs."""
    for entry in _all(spool):
        try:
            parse(disk.read(spool.at(entry.file), LARGEST_JOB).data)
        except FileNotFoundError:
            continue  # it has moved meanwhile
        except InvalidJob as error:
            act = (
                None
                if entry.state == "processing"
                else partial(spool.reject, entry.file, str(error))
            )
            yield Finding(
                "unreadable",
                f"{entry.file} is no job: {error}",
                "--fix sets it aside in rejected/",
                act,
            )
        except OSError as error:
            yield Finding(
                "unreadable",
                f"{entry.file} cannot be read: {error.strerror}",
                "see the file, and the disk",
            )


def schedules(spool: Spool) -> Iterator[Finding]:
    """Schedules that cannot tick, and what is remembered of those that are gone."""
    if disk.mode(spool.at("schedules")) is None:
        return
    from queuectl import timetable  # most spools have no schedules

    remembered, found = list(timetable.remembered(spool)), list(timetable.files(spool))
    names = [kept.name for kept in found]
    for kept in found:
        try:
            ahead = timetable.since(spool, kept.name, timetable.read(spool, kept)) - spool.now()
            if ahead > SKEW:
                what = f"schedule {kept.name} was made, or has ticked, {units.ago(ahead)} ahead of now: the clock was set back"
                mend = partial(timetable.begin_anew, spool, kept.name)
                yield Finding("schedules", what, "--fix lets it begin anew", mend)
        except FileNotFoundError:
            continue  # it was paused or removed meanwhile
        except ScheduleDamaged as error:
            if kept.file in str(error):  # what is remembered comes below
                yield Finding("schedules", str(error), "correct the file, or remove it")
        if kept.end == timetable.PAUSED and names.count(kept.name) > 1:
            yield Finding(
                "schedules",
                f"schedule {kept.name} is active, and {kept.file} is one of the same name",
                "remove one of the two",
            )
    for name in remembered:
        try:
            if name not in names:
                what = f"schedules/{name}.last belongs to no schedule"
                yield Finding(
                    "schedules", what, "--fix removes it", partial(timetable.forget, spool, name)
                )
            else:
                timetable.last(spool, name)
        except ScheduleDamaged as error:
            yield Finding(
                "schedules",
                str(error),
                "--fix lets it begin anew",
                partial(timetable.begin_anew, spool, name),
            )


def clocks(spool: Spool) -> Iterator[Finding]:
    """Jobs that wait for a time that only a clock explains that was ahead."""
    now = spool.now()
    for state in WAITING:
        for entry in spool.entries(state):
            if entry.name.time <= now + SKEW:
                continue
            came = disk.changed(spool.at(entry.file))
            if came <= now + SKEW or _is_wanted(spool, entry, came):
                continue
            what = f"job {entry.name.id} waits until {units.iso(entry.name.time)}: the clock was {units.ago(came - now)} ahead when it came here"
            mend = partial(_set_right, spool, entry, now + max(0.0, entry.name.time - came))
            yield Finding("clocks", what, "--fix lets it wait for as long as it should have", mend)


def _is_wanted(spool: Spool, entry: Entry, came: float) -> bool:
    """Whether the job itself asks for the time at which it is due, and did so before that time."""
    job = lookup.read(spool, entry.file)
    return job is not None and job.run_at == entry.name.time > came


def _set_right(spool: Spool, entry: Entry, due: float) -> None:
    """Let a job be due at this time, and its file be of now, so that nobody takes it for wrong again."""
    moved = spool.move(entry, entry.state, entry.name._replace(time=due))
    if moved:
        disk.touch(spool.at(moved.file))


def refused_hooks(spool: Spool) -> Iterator[Finding]:
    """Hooks that are not run, because they may be somebody else's."""
    if disk.mode(spool.at("hooks")) is None:
        return
    from queuectl import hooks  # most spools have no hooks

    for name, why in hooks.status(spool).items():
        path = spool.at("hooks", name)
        if why and (disk.mode(path) or 0) & 0o022 and spool.trusts(disk.owner(path)):
            yield Finding(
                "hooks",
                f"hook {name} is not run: {why}",
                "--fix makes it private",
                partial(disk.close_to_others, path),
            )
        elif why:
            yield Finding(
                "hooks",
                f"hook {name} is not run: {why}",
                "see who made it, then give it to the spool's owner",
            )


def file_system(spool: Spool) -> Iterator[Finding]:
    """Whether the file system can do what a spool needs, and keeps our time."""
    for fault in probe.probe(spool):
        yield Finding(fault.check, fault.what, fault.cure)


def linked(spool: Spool) -> Iterator[Finding]:
    """A copy that is made of hard links: its histories, logs and locks are those of this spool."""
    names = disk.links(spool.at("spool.json"))
    if names > 1:
        what = f"{spool.at('spool.json')} has {names} names: a copy of hard links shares its files with this spool"
        yield Finding("linked", what, "copy it anew with 'cp -a', and remove the one of hard links")


def boots(spool: Spool) -> Iterator[Finding]:
    """Signs of life of another kernel, on a file system that counts as used by one."""
    if spool.is_shared:
        return
    observer = liveness.Observer(spool)
    for worker, record in liveness.records(spool):
        elsewhere = record is not None and record.boot not in ("", host.place().boot)
        # Of a restored copy the last heartbeat may be later than this boot, too, but it is old.
        is_recent = (observer.age(worker) or 0.0) <= liveness.lease(spool)
        if record and elsewhere and is_recent and observer.is_alive(worker, record):
            what = f"worker {worker} works here under another kernel (host {record.host}), and the file system counts as used by this host alone"
            cure = "'queuectl config set shared yes', then start all workers again"
            yield Finding("boots", what, cure)


def builds(spool: Spool) -> Iterator[Finding]:
    """Workers that run another build of queuectl than others, or than this program."""
    found = lookup.workers(spool, liveness.Observer(spool))
    what = lookup.several_builds(found, build())
    if what:
        yield Finding("builds", what, lookup.ONE_BUILD)


def watches(spool: Spool) -> Iterator[Finding]:
    """Whether the system has a watch left for new jobs."""
    if not host.has_watches():
        cure = "raise fs.inotify.max_user_instances (sysctl); until then new jobs are found by looking every poll_interval"
        yield Finding("watches", "this user has no inotify instance left", cure)


def once_huge(spool: Spool) -> Iterator[Finding]:
    """Directories that held so many files once that listing them is slow for ever."""
    for state in renewal.PLACES:
        size = disk.size(spool.at(state))
        if size > HUGE and sum(1 for _ in disk.scan(spool.at(state))) < FEW:
            what = f"{spool.at(state)} has {size // 1024} kB for few names: it once held very many"
            yield Finding(
                "once huge",
                what,
                "--fix swaps it for a new one, also while jobs come and go",
                partial(renewal.renew, spool, state),
            )


def _all(spool: Spool) -> Iterator[Entry]:
    for state in STATES:
        yield from spool.entries(state)


#: In this order: what is missing before what is in it.
CHECKS = (
    directories, modes, settings, locks, file_system, linked, boots, builds, watches, leftovers, duplicates, orphans,
    stillborn, unreadable, links, records, clocks, schedules, refused_hooks, once_huge,
)  # fmt: skip
