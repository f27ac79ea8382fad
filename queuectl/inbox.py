"""The inbox of a shared spool: members of a group may drop jobs there, and do nothing else.

`queuectl init --shared GROUP` makes it: sticky, setgid, for the group to write into and
not to read. A worker takes a file out of it, judges it, and enqueues what it accepts as a
file of its own, stamped with the submitter's name; the original is removed. So no file of
another user is ever run, and nobody but the owner ever writes into pending/.

Promises
    Only files of members of the group are accepted.
    A file becomes one job, also if its worker dies on the way: the job's id comes from the
    file itself, and the rescue looks whether it is there already.
Leaves to others
    what a drop may be (admission), the moves (spool).
Raises
    OSError from the disk; never for what a file is.
"""

from __future__ import annotations

import os

from queuectl import admission, disk, host
from queuectl.admission import Admitted, Answer, Broken, Rejected
from queuectl.errors import IdTaken, InvalidJob, KeyTaken
from queuectl.filename import fitted, renamed
from queuectl.job import Job
from queuectl.spool import Spool

#: What the name of a file ends in that a worker has taken out of the inbox.
TAKEN = ".inbox"


def accept(spool: Spool, drop: str, worker: str, *, last: bool) -> Answer:
    """Judge the file `drop`, a path such as inbox/x.json. With `last` its grace is over."""
    found = admission.judge(spool, drop, lambda owner: _stranger(spool, owner))
    if found == "gone" or (isinstance(found, Broken) and not last):
        return found
    name = os.path.basename(drop)
    taken = f"processing/{worker}/" + fitted("", name, 180) + f".{host.nonce()}{TAKEN}"
    # RACE: another worker took it, or its owner took it back.
    if not disk.rename(spool.at(drop), spool.at(taken)):
        return "gone"
    # CRASH: a file with this ending in a dead worker's directory is dealt with by `give_back`.
    return _settle(spool, taken, name, last=last)


def _settle(spool: Spool, taken: str, name: str, *, last: bool) -> Answer:
    found = admission.judge(spool, taken, lambda owner: _stranger(spool, owner))
    if isinstance(found, Broken) and not last:
        give_back(spool, taken)
        return found
    if not isinstance(found, Job):
        why = found.why if isinstance(found, Broken | Rejected) else "it vanished"
        return Rejected(why) if spool.reject(taken, why, name) else "gone"
    job = found._replace(
        submitted_by=host.user(disk.owner(spool.at(taken))), created_at=round(spool.now(), 6)
    )
    try:
        entry = spool.enqueue_as(job, job.id or admission.id_of(spool, taken))
    except (IdTaken, KeyTaken, InvalidJob) as error:
        return Rejected(str(error)) if spool.reject(taken, str(error), name) else "gone"
    # CRASH: dying here leaves the job and its original; the rescue knows the one by the other.
    disk.unlink(spool.at(taken))
    return Admitted(entry.file, entry.name)


def give_back(spool: Spool, taken: str) -> None:
    """What a dead worker had taken out of the inbox goes back, unless its job is there already."""
    found = admission.judge(spool, taken, lambda _: None)
    id = found.id if isinstance(found, Job) and found.id else admission.id_of(spool, taken)
    if spool.state_of(id) is not None and isinstance(found, Job):
        disk.unlink(spool.at(taken))
    else:
        disk.rename(
            spool.at(taken), spool.at("inbox", renamed(os.path.basename(taken), host.nonce()))
        )


def _stranger(spool: Spool, owner: int) -> str | None:
    """Why a user may not submit jobs here; None: they may."""
    if spool.trusts(owner) or disk.group(spool.at("inbox")) in host.groups(owner):
        return None
    return f"belongs to user {owner}, who is not in the group of this inbox"
