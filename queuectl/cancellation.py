"""Cancelling a job that runs: an empty file beside the job's file.

On this host a signal tells the worker at once that there is one; elsewhere its
supervisor finds it at the next heartbeat. The worker ends the command, and the request goes.
A consumer in Python has no supervisor and understands no signals: it looks for itself.

Promises
    A request that came too late for its job is removed and harms no other.
Leaves to others
    ending the command (executor), burying the job (worker).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import os
import signal

from queuectl import disk, liveness
from queuectl.layout import Entry
from queuectl.spool import Spool

#: What stands behind the name of a job's file in the name of a request.
END = ".cancel"


def request(spool: Spool, entry: Entry) -> bool:
    """Ask for the end of a running job. False: it runs no more."""
    path = spool.at(entry.file + END)
    try:
        disk.write(path, b"", durable=False)
    except FileExistsError:
        # Somebody has asked before: ask again. Or the disk said so of our own new file, and it is not there.
        if not disk.is_there(path):
            raise
    except FileNotFoundError:
        return False
    if not disk.is_there(spool.at(entry.file)):
        # RACE: a worker that has seen the request already has ended the job and removed it.
        return not disk.unlink(path)
    who = liveness.read(spool, entry.worker or "")
    if (
        who
        and who.supervisor
        and who.is_here
        and disk.is_held(spool.at("workers", who.worker + ".lock"))
    ):
        tell(who.pid, signal.SIGUSR1)
    return True


def is_requested(spool: Spool, file: str) -> bool:
    """Whether somebody asked for the end of the running job in `file`."""
    return disk.is_there(spool.at(file + END))


def is_pending(spool: Spool, worker: str) -> bool:
    """Whether there is a request for the job that a worker runs; requests that came too late are removed."""
    held = set(spool.held_by(worker))
    asked = {name for name in held if name.endswith(END)}
    for name in asked:
        if name.removesuffix(END) not in held:
            disk.unlink(spool.at("processing", worker, name))
    return any(name.removesuffix(END) in held for name in asked)


def forget(spool: Spool, file: str) -> None:
    """The job that was in `file` has ended."""
    disk.unlink(spool.at(file + END))


def tell(pid: int, number: signal.Signals) -> None:
    """Signal a process that may have just ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # RACE: it has
