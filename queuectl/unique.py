"""Unique work: while a job with a key waits or runs, another with this key is refused.

`unique/<key>` is a symbolic link that says the id of the job, so `ls -l unique` shows who
holds what. It is made before the job comes into the queue and removed when the job has
ended.

Promises
    Of many who enqueue one key at once, one wins.
    A key whose job has ended or was removed is void, whatever was left behind by a crash.
Leaves to others
    what a key may look like (job), when a job ends (worker, actions).
Raises
    KeyTaken; OSError from the disk; Locked.
"""

from __future__ import annotations

from queuectl import disk
from queuectl.errors import KeyTaken
from queuectl.layout import ENDED, Layout

#: Seconds that an enqueue may take from holding its key until its job is in the queue.
NEWBORN = 60.0


def hold(spool: Layout, key: str, id: str) -> None:
    """Make job `id` the one with this key; KeyTaken if another has it that has not ended."""
    path = spool.at("unique", key)
    spool.need("unique")
    if disk.point(path, id):
        return
    with spool.locked("unique", ".lock"):
        holder = disk.pointed(path)
        if holder == id:
            return  # ours already: an answer was lost
        if holder is not None:
            state = spool.state_of(holder)
            # RACE: its enqueue may be just between its key and its job; one that died there is forgotten after a while.
            is_newborn = state is None and spool.age(path) < NEWBORN
            if is_newborn or state not in (None, *ENDED):
                raise KeyTaken(key, holder, state)
            disk.unlink(path)
        if not disk.point(path, id):
            raise KeyTaken(key, disk.pointed(path) or "another job", None)


def let_go(spool: Layout, key: str, id: str) -> None:
    """Give up a key, if this job has it."""
    path = spool.at("unique", key)
    if disk.pointed(path) == id:
        # RACE: somebody may find just now that the job has ended, and take the key.
        with spool.locked("unique", ".lock"):
            if disk.pointed(path) == id:
                disk.unlink(path)
