"""Admission: a file that some program dropped becomes a job, or is set aside with a reason.

A drop is taken into the worker's own directory, judged there, and moved to pending/
under a full name: whoever takes it judges it, and nobody can change which file that is.
A text that ends too early may still be being written, so it gets a grace; a JSON object
cut short is never JSON, so a drop that can be read is whole.

Promises
    A good drop becomes one job, with its own priority, time and id.
    Nothing is opened that could block, and no link is followed.
    What is no job ends in rejected/, its bytes untouched, with a reason for people.
Leaves to others
    how long the grace is, by whose clock (supervisor).
Raises
    OSError from the disk; never for what a drop is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, NamedTuple

from queuectl import batches, disk, host, ids, unique
from queuectl.config import Settings
from queuectl.errors import InvalidJob, KeyTaken, Locked
from queuectl.filename import Name, decode, encode, renamed, resembles
from queuectl.job import Job, from_dict, parse
from queuectl.spool import Claim, Spool
from queuectl.strict import Unfinished, load


class Admitted(NamedTuple):
    """A drop is now the job in `file`, a path from the spool."""

    file: str
    name: Name


class Broken(NamedTuple):
    """A drop cannot be read yet. `mark` stays the same for as long as nobody writes to it."""

    why: str
    mark: str


class Rejected(NamedTuple):
    """A drop was set aside."""

    why: str


Answer = Admitted | Broken | Rejected | Literal["gone"]


def admit(spool: Spool, drop: str, worker: str, *, last: bool) -> Answer:
    """Judge the file `drop` in pending/. With `last` its grace is over: what is still broken is rejected."""
    place = f"pending/{drop}"
    if decode(drop) is None and resembles(drop):
        return _set_aside(
            spool,
            place,
            "the name has the form of a full name but is not one: see 'A job's name' in docs/format.md",
        )
    first = _judge(spool, place)
    if isinstance(first, Broken) and not last:
        return first
    if first == "gone":
        return "gone"
    taken = f"processing/{worker}/{drop}"
    # RACE: another worker took it, or its producer took it back.
    if not disk.rename(spool.at(place), spool.at(taken)):
        return "gone"
    # CRASH: a drop in a worker's directory is given back by its rescue.
    try:
        return _settle(spool, taken, last=last)
    except (OSError, Locked):
        give_back(spool, taken)
        raise


def _settle(spool: Spool, taken: str, *, last: bool) -> Answer:
    """Judge again what is now ours alone: the name may have been used for another file since."""
    found = _judge(spool, taken)
    if isinstance(found, Broken) and not last:
        give_back(spool, taken)
        return found
    if not isinstance(found, Job):
        return _set_aside(
            spool, taken, found.why if isinstance(found, Broken | Rejected) else "it vanished"
        )
    # CRASH: who dies while the job has its key must give the job the same id the next time.
    id = found.id or (id_of(spool, taken) if found.unique else ids.fresh())
    if found.id and (why := _unheld(spool, id, spool.at(taken))):
        return _set_aside(spool, taken, why)
    if why := _refusal(spool, found, id):
        return _set_aside(spool, taken, why)
    batches.note(spool, [(found.batch, id)])
    name = Name(found.due(spool.now()), found.priority, 0, id)
    target = f"pending/{encode(name)}"
    if not disk.rename(spool.at(taken), spool.at(target)):
        return "gone"
    spool.note("admitted", id, state="pending")
    return Admitted(target, name)


def id_of(spool: Spool, file: str) -> str:
    """An id of our own shape for what is in a file: the same for the same, whatever the file is called."""
    inode, changed, _ = disk.version(spool.at(file)) or (0, 0, 0)
    return ids.derived(changed // 1000, inode)


def _unheld(spool: Spool, id: str, path: str) -> str | None:
    """Why the job in the file at `path` cannot have this id; None: it has it."""
    try:
        if spool.hold_id(id, path):
            return None
    except PermissionError:
        if disk.owner(path) == os.geteuid():
            raise
        return "belongs to another user, and the system lets only its owner give it an id: let it belong to the spool's owner"
    others = [entry.state for entry in spool.entries_of(id) if spool.at(entry.file) != path]
    return f"id {id!r} is taken: a job with this id is {others[0] if others else 'being enqueued'}"


def _refusal(spool: Spool, job: Job, id: str) -> str | None:
    """Why a job may not be in the queue beside others; None: it holds its key, if it has one."""
    try:
        if job.unique:
            unique.hold(spool, job.unique, id)
    except KeyTaken as error:
        return str(error)
    return None


def give_back(spool: Spool, taken: str) -> None:
    """Put a drop back into pending/, under a name of its own: a newer drop may have its old one."""
    disk.rename(
        spool.at(taken), spool.at("pending", renamed(os.path.basename(taken), host.nonce()))
    )


def _judge(spool: Spool, file: str) -> Job | Broken | Rejected | Literal["gone"]:
    return judge(spool, file, lambda owner: foreign(spool, owner))


def foreign(spool: Spool, owner: int) -> str | None:
    """Why files of a user are not run here; None: they are."""
    return None if spool.trusts(owner) else _foreign(owner)


def _foreign(owner: int) -> str:
    return f"belongs to user {owner}; only files of the spool's owner are run"


def judge(
    spool: Spool, file: str, refuse: Callable[[int], str | None]
) -> Job | Broken | Rejected | Literal["gone"]:
    """What the file is; `refuse` says why a user's files are not run here, or None."""
    try:
        content = disk.read(spool.at(file), spool.settings().max_job_size)
    except FileNotFoundError:
        return "gone"
    except disk.NotPlain as error:
        return Rejected(error.strerror or "is no plain file")
    except PermissionError:
        return Broken("cannot be read: permission denied", "denied")
    if why := refuse(content.status.st_uid):
        return Rejected(why)
    try:
        job = parse(content.data)
    except Unfinished as error:
        return Broken(str(error), content.mark)
    except InvalidJob as error:
        return Rejected(str(error))
    if job.predecessors:
        spool.need("blocked")  # where there is none, a prune reads no waiting jobs
        if unknown := spool.missing(job.predecessors):
            # It may still be dropped.
            return Broken(f"waits for job {unknown!r}, which is not in the spool", content.mark)
    # CRASH: a worker that died between holding the id and moving the file left it with two names.
    ours = 1 + (job.id is not None and disk.is_same(spool.at("ids", job.id), spool.at(file)))
    # link + unlink producers have one name more for a moment.
    return (
        job if content.status.st_nlink <= ours else Broken("has a second hard link", content.mark)
    )


def _set_aside(spool: Spool, file: str, why: str) -> Answer:
    return Rejected(why) if spool.reject(file, why) else "gone"


def examine(spool: Spool, claim: Claim, settings: Settings) -> Job | Rejected:
    """What to run for a claim; Rejected: its file turns out to be no job of ours."""
    path, id = f"{spool.path}/{claim.file}", claim.name.id
    try:
        content = disk.read(path, settings.max_job_size)
        job = from_dict(load(content.data))
    except InvalidJob as error:
        return Rejected(str(error))
    except (disk.NotPlain, PermissionError) as error:
        return Rejected(error.strerror or "it cannot be read")
    owner = content.status.st_uid
    if not spool.trusts(owner):
        return Rejected(_foreign(owner))
    if job.id not in (None, id):
        return Rejected(f"the id inside is {job.id!r} and the name says {id!r}")
    if not ids.is_ours(id) and (why := _unheld(spool, id, path)):
        return Rejected(why)
    if job.unique and (why := _refusal(spool, job, id)):
        return Rejected(why)
    return job
