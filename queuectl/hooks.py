"""Hooks: programs of the spool's owner that run after a job has come to its end.

`hooks/` holds executables named for what they wait for: `completed`, `failed`, `dead`, `batch-done`.
Whoever is about to file a job leaves a note in `hooks/due/`, a symbolic link that is there at once and whole: to
the place where the job goes, or to the name of its batch. A supervisor takes the note by a rename, runs the
hook, and removes the note.

    hooks/due/dead~20261122T101502.123456Z-p5-a3-hello.json -> ../../dead/20261122T101502.123456Z-p5-a3-hello.json

Promises
    The note is there before the job has moved, so a crash loses no call: at least once.
    Without hooks nothing is left and nothing costs more than a look twice a second.
    A note that cannot be written, but for want of room, keeps no job from its end.
    A hook that others could have written is none.
Leaves to others
    taking notes and running hooks (porter), when a batch has ended (closing).
Raises
    OSError for a full disk.
"""

from __future__ import annotations

import errno
import math
import os
import time
from itertools import islice

from queuectl import disk, host
from queuectl.errors import InvalidJob
from queuectl.job import parse
from queuectl.layout import ENDED, Layout

#: The hook that waits for the end of a whole batch.
BATCH = "batch-done"

#: The hooks there can be: for each state that a run leads to, and for the end of a batch.
NAMES = ("completed", "failed", "dead", BATCH)

#: Seconds between two looks at which hooks there are.
LOOK = 0.5

#: What stands between the name of a hook and that of a job's file.
SIGN = "~"

#: Notes that are looked at together.
MOST = 1000

_seen: dict[str, tuple[float, frozenset[str]]] = {}


def status(spool: Layout) -> dict[str, str]:
    """The hooks there are, and why each must not run; "" if it may. One that is not executable is none."""
    if disk.mode(spool.at("hooks")) is None:
        return {}
    shut, found = _distrust(spool, spool.at("hooks")), {}
    if not shut and not os.access(spool.at("hooks"), os.W_OK):
        shut = f"{spool.at('hooks')} is not writable: there is no place for notes"
    for name in NAMES:
        path = spool.at("hooks", name)
        mode = disk.mode(path)
        if mode is not None and mode & 0o111 and os.path.isfile(path):
            found[name] = shut or _distrust(spool, path)
    return found


def _distrust(spool: Layout, path: str) -> str:
    """Why the program at `path`, or what is in that directory, may be somebody else's; "" if it is ours."""
    mode, owner = disk.mode(path) or 0, disk.owner(path)
    if mode & 0o022:
        return f"{path} can be written to by others (mode {mode & 0o777:o})"
    return (
        ""
        if spool.trusts(owner)
        else f"{path} belongs to user {host.user(owner)}; only hooks of the spool's owner are run"
    )


def wanted(spool: Layout) -> frozenset[str]:
    """The hooks that may run, as they were at a look a moment ago."""
    now = time.monotonic()
    looked, found = _seen.get(spool.path, (-math.inf, frozenset()))
    if now - looked > LOOK:
        try:
            found = frozenset(name for name, why in status(spool).items() if not why)
        except OSError:
            pass  # a disk that does not answer now: as it was
        _seen[spool.path] = now, found
    return found


def note(spool: Layout, target: str, batch: str | None = None) -> None:
    """Leave notes that a job is about to come to `target`, for the hooks that wait for it."""
    hooks = wanted(spool)
    if hooks:
        state, _, name = target.partition("/")
        if state in hooks:
            _leave(spool, state + SIGN + name, f"../../{target}")
        if batch and state in ENDED:
            note_batch(spool, name, batch)


def note_batch(spool: Layout, name: str, batch: str | None) -> None:
    """Leave a note that the job of this name ends, which may have been the last of its batch."""
    if batch and BATCH in wanted(spool):
        _leave(spool, BATCH + SIGN + name, batch)


def _leave(spool: Layout, name: str, text: str) -> None:
    path = spool.at("hooks", "due", name)
    try:
        try:
            # RACE: ours may be there already, if the move that was to follow failed and this is another try.
            disk.point(path, text)
        except FileNotFoundError:
            disk.make(spool.at("hooks", "due"))
            disk.point(path, text)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise


def note_file(spool: Layout, target: str, file: str) -> None:
    """The same for a job of which only the file is known, as a path from the spool."""
    hooks = wanted(spool)
    if hooks:
        note(spool, target, _batch_of(spool, file) if BATCH in hooks else None)


def _batch_of(spool: Layout, file: str) -> str | None:
    try:
        return parse(disk.read(spool.at(file), spool.settings().max_job_size).data).batch
    except (OSError, InvalidJob):
        return None


def due(spool: Layout) -> list[str]:
    """The notes that wait, by the times in their names."""
    found = islice(disk.scan(spool.at("hooks", "due")), MOST)
    return sorted(
        (name for name in found if name.partition(SIGN)[0] in NAMES),
        key=lambda name: name.partition(SIGN)[2],
    )
