"""Renewal: a directory that once held very many names is swapped for a new one.

ext4 never gives back the blocks of a directory, so listing one that held a million names
stays slow for ever. A new directory takes its name by one exchange, and what was in
the old one, now in tmp/, is moved into the new one. Programs may go on dropping and claiming meanwhile:
who still has the old directory open adds to it until it is gone, and that is moved as well.

Promises
    No file is lost or overwritten. For a moment a job may be in neither of them, as far as a listing can see.
    After a crash, the sweep of tmp/ finishes what was begun.
Leaves to others
    which directories need it (doctor); when to sweep (spool).
Raises
    SpoolUnusable where the file system cannot exchange; OSError from the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os

from queuectl import disk, host
from queuectl.errors import SpoolUnusable
from queuectl.filename import decode, is_drop, renamed
from queuectl.layout import NESTED, STATES, Layout

#: What a file system says that has no exchange.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)

#: The states that have one directory.
PLACES = tuple(state for state in STATES if state not in NESTED)


def renew(spool: Layout, state: str) -> None:
    """Swap the directory of a state for a new one that holds the same files."""
    place, old = spool.at(state), f"{spool.temporary()}.{state}"
    disk.make(old)
    try:
        disk.share(old, disk.group(place), disk.mode(place) or disk.DIRECTORY_MODE)
        disk.exchange(place, old)
        # CRASH: from here on the jobs are in tmp/; the sweep brings them back.
        disk.sync(spool.path)
        disk.sync(spool.at("tmp"))
    except OSError as error:
        if error.errno in _CANNOT:
            why = f"the file system of {spool.path} cannot exchange two directories"
            cure = f"stop the workers, then mv {state} aside, mkdir it with mode 700, and mv its files back"
            raise SpoolUnusable(f"{why}; {cure}") from None
        raise
    finally:
        bring_back(spool, old)


def state_of(path: str) -> str | None:
    """The state whose old directory this path in tmp/ is; None: it is something else, perhaps another program's."""
    name = os.path.basename(path)
    state = name.rpartition(".")[2]
    is_ours = name.count("~") == 4 and name.partition("~")[0].isdigit()
    return state if is_ours and state in PLACES else None


def bring_back(spool: Layout, old: str) -> None:
    """Move what is in the old directory of a state into its new one, and remove it."""
    state = str(state_of(old))
    # RACE: programs that have the old directory open may add to it until it is gone.
    while not disk.remove(old):
        names = list(disk.scan(old))
        if not names:
            return  # gone already
        for name in names:
            _move(os.path.join(old, name), spool.at(state, name))
        # The directory that they left comes first: else a power cut can leave a job in both (btrfs).
        with contextlib.suppress(FileNotFoundError):  # RACE: another sweeper has finished with it
            disk.sync(old)
        disk.sync(spool.at(state))


def _move(source: str, target: str) -> None:
    if decode(os.path.basename(target)) is not None:
        disk.rename(source, target)  # nobody else makes this name
        return
    try:
        while not disk.rename_new(source, target):
            # RACE: a newer drop has the name.
            directory, name = os.path.split(target)
            target = os.path.join(
                directory,
                renamed(name, host.nonce()) if is_drop(name) else f"{name}.{host.nonce()}",
            )
    except FileNotFoundError:
        pass  # somebody else moved it
