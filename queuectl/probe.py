"""The probe: whether the file system can do what a spool needs, tried out in its tmp/.

Promises
    Nothing is left behind, also by a probe that was killed (but for files in tmp/, which are swept).
    What is fatal cannot work; what is not is a risk that somebody should know of.
Leaves to others
    who asks (doctor, `queuectl init`).
Raises
    OSError when not even a file can be written.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from queuectl import disk, host
from queuectl.layout import MADE, SKEW, Layout

#: Stores of objects that look like file systems: a rename is a copy there, and another host sees it when it likes.
_OBJECT_STORES = (
    "s3fs",
    "goofys",
    "gcsfuse",
    "rclone",
    "blobfuse",
    "mountpoint-s3",
    "juicefs-s3",
    "geesefs",
)

#: How many leases of the file server worker_lost_after should have: a rescuer that waits for one must not give up meanwhile.
LEASES = 2


class Fault(NamedTuple):
    """Something about a file system, and what to do. `is_fatal`: a spool cannot work there."""

    check: str
    what: str
    cure: str
    is_fatal: bool = False


class Use(NamedTuple):
    """By whom a spool is used: `shared` if by several hosts. `why`: how that was decided."""

    type: str
    shared: bool
    why: str

    def __str__(self) -> str:
        users = "several hosts" if self.shared else "this host alone"
        return f"file system {self.type or '(unknown)'}: used by {users}, {self.why}"


def use(spool: Layout) -> Use:
    """Whether several hosts count as users of a spool, and why."""
    kind, setting = host.mount(spool.path).kind, spool.settings().shared
    if setting != "auto":
        why = f"as the setting 'shared' says ({setting})"
    elif spool.is_shared:
        why = "as its type is not known to be local; if that is wrong: 'queuectl config set shared no'"
    else:
        why = "as its type is known to be local"
    return Use(kind, spool.is_shared, why)


def probe(spool: Layout) -> Iterator[Fault]:
    """What is wrong with the file system of a spool."""
    here = spool.temporary()
    before = time.time()
    try:
        disk.sync(spool.at("tmp"))  # whether that can be done, while there is nothing to write yet
        disk.write(here, b"probe", durable=False)
        yield from _time(here, before)
        yield from _owner(spool, here)
        yield from _links(spool, here)
        yield from _case(spool, here)
        yield from _locks(spool, here)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        yield Fault(
            "file system",
            f"no fsync of a directory in {spool.path}",
            "put the spool on a file system that has it",
            True,
        )
    finally:
        disk.unlink(here)
    yield from _moves(spool, here)
    yield from _mounts(spool)
    yield from _lease(spool)


def _time(here: str, before: float) -> Iterator[Fault]:
    stamp = disk.modified(here) or before
    if abs(stamp - before) > SKEW:
        what = f"the clock of the file system is {stamp - before:+.1f} s off this host's"
        yield Fault(
            "clock",
            what,
            "set both clocks with NTP: jobs become due by the clock of the file system",
        )


def _owner(spool: Layout, here: str) -> Iterator[Fault]:
    owner = disk.owner(here)
    if owner != os.geteuid():
        what = f"files that user {os.geteuid()} makes in {spool.path} belong to user {owner}: the server squashes users"
        yield Fault(
            "owner",
            what,
            "run queuectl as an ordinary user who is the same on all hosts, or export with no_root_squash",
        )


def _links(spool: Layout, here: str) -> Iterator[Fault]:
    there = spool.temporary()
    try:
        works = disk.link(here, there) and disk.links(here) == 2
    except OSError:
        works = False
    finally:
        disk.unlink(there)
    if not works:
        yield Fault(
            "file system",
            f"no hard links in {spool.path}",
            "put the spool on a file system that has them",
            True,
        )


def _case(spool: Layout, here: str) -> Iterator[Fault]:
    folded = spool.at("tmp", os.path.basename(here).upper())
    if folded != here and disk.is_there(folded):
        what = f"{spool.path} does not tell upper from lower case: the ids 'Job' and 'job' are one file there"
        yield Fault("case", what, "use ids that differ in more than case, or another file system")


def _locks(spool: Layout, here: str) -> Iterator[Fault]:
    try:
        disk.is_held(here)
    except OSError as error:
        what = f"no locks in {spool.path}: {error.strerror}"
        yield Fault(
            "locks", what, "on NFS mount with v4.2, or run rpc.statd and leave out 'nolock'"
        )


def _moves(spool: Layout, here: str) -> Iterator[Fault]:
    for state in MADE:
        try:
            # Of a file that is not there: between two mounts the system refuses before it looks, so no probe can be left behind.
            disk.rename(here, spool.at(state, os.path.basename(here)))
        except OSError as error:
            what = f"nothing can be moved from {spool.at('tmp')} to {spool.at(state)}: {error.strerror}"
            yield Fault("file system", what, "put the whole spool on one file system", True)


def _mounts(spool: Layout) -> Iterator[Fault]:
    mount = host.mount(spool.path)
    if any(name in mount.kind for name in _OBJECT_STORES):
        what = f"{mount.kind} is a store of objects: its renames are copies that others see late or never"
        yield Fault(
            "mount", what, "put the spool on a local disk, NFS or a cluster file system", True
        )
    for option, (why, cure) in _RISKS.items():
        if option in mount.options and mount.kind.startswith("nfs"):
            yield Fault("mount", f"{spool.path} is mounted with '{option}': {why}", cure)


def _lease(spool: Layout) -> Iterator[Fault]:
    """Whether a supervisor can outlive what the server does for a client that has died: it makes whoever wants its files wait."""
    held, ours = host.server_lease(spool.path), spool.settings().worker_lost_after
    if held is not None and ours < LEASES * held:
        what = f"worker_lost_after is {ours:g} s, and the file server keeps the files of a host that has died for {held:g} s"
        cure = f"set worker_lost_after to {LEASES * held:g} at least, or lower the server's lease (/proc/fs/nfsd/nfsv4leasetime)"
        yield Fault("lease", what, cure)


_RISKS: dict[str, tuple[str, str]] = {
    "soft": (
        "an answer that takes long becomes an error, of which nobody knows what was done",
        "mount it with 'hard'",
    ),
    "softerr": (
        "an answer that takes long becomes an error, of which nobody knows what was done",
        "mount it with 'hard'",
    ),
    "local_lock=all": ("locks exclude nobody on other hosts", "mount it without 'nolock'"),
    "nolock": ("locks exclude nobody on other hosts", "mount it without 'nolock'"),
}
