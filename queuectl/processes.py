"""The processes of this host that belong to a worker: those that carry its name in their environment.

A command inherits QUEUECTL_WORKER, and so do its children, also those that left its
process group. That is how the commands of a dead worker are found. A copy of a spool
names the same workers and jobs, so a search on behalf of a spool leaves out the
processes of another one: QUEUECTL_SPOOL says which.

Leaves to others
    whether the worker is dead (liveness); when to end them (recovery).
Raises
    nothing: a process that we may not look at is not one of ours.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

#: Seconds that a process may need to vanish after KILL; one that waits for a dead disk needs longer.
KILL_PATIENCE = 5

#: Seconds between two looks at whether a process has ended.
_PAUSE = 0.01


def of_worker(
    worker: str, run: tuple[str, int] | None = None, spool: str | None = None
) -> list[int]:
    """The ids of the processes that a worker started; `spool` as in `carrying`.

    With `run`, an id and an attempt, only those of that run.
    """
    wanted = {f"QUEUECTL_WORKER={worker}".encode()}
    if run:
        wanted |= {f"QUEUECTL_JOB_ID={run[0]}".encode(), f"QUEUECTL_ATTEMPT={run[1]}".encode()}
    return carrying(wanted, spool)


def carrying(wanted: set[bytes], spool: str | None = None) -> list[int]:
    """The ids of the processes that were started with these variables, NAME=VALUE each.

    With `spool`, the path of one, those of another spool are not among them.
    """
    found = _by_proc(wanted) if sys.platform == "linux" else _by_ps(wanted)
    return [
        pid for pid in found if pid != os.getpid() and not (spool and _is_foreign(str(pid), spool))
    ]


def _is_foreign(pid: str, spool: str) -> bool:
    """Whether a process was started for a spool that is another directory than the one at `spool`.

    One whose spool is gone is not: it was moved, or a copy has taken its place.
    """
    path = _variable(pid, b"QUEUECTL_SPOOL=")
    if not path.startswith(b"/"):
        return False
    try:
        theirs = _directory(pid, path)
        return not os.path.samestat(os.stat(spool), theirs)
    except OSError:
        return False


def _directory(pid: str, path: bytes) -> os.stat_result:
    """What a process finds at `path`: in a container that may be another directory than here."""
    if sys.platform == "linux":
        try:
            return os.stat(b"/proc/%b/root%b" % (pid.encode(), path))
        except PermissionError:
            pass
    return os.stat(path)


def _variable(pid: str, head: bytes) -> bytes:
    """The value of the variable that `head`, NAME=, begins in the environment of a process; else nothing."""
    words = _environment(pid) if sys.platform == "linux" else _words(pid)
    return next((word.removeprefix(head) for word in words if word.startswith(head)), b"")


def close_inherited() -> None:
    """Close the descriptors that this process inherited, but stdin, stdout and stderr; its own stay open."""
    try:
        found = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        found = list(range(3, 256))  # no /dev here
    for fd in found:
        with suppress(OSError):  # the one that listed them is closed by now
            # What a program was started with is inheritable, and nothing that Python opens itself.
            if fd > 2 and os.get_inheritable(fd):
                os.close(fd)


def children(parent: int) -> list[int]:
    """The ids of the children of a process; none where /proc does not tell."""
    wanted = str(parent).encode()
    names = (
        [name for name in os.listdir("/proc") if name.isdigit()] if sys.platform == "linux" else []
    )
    return [int(name) for name in names if (state := _status(name)) and state[1] == wanted]


def _by_proc(wanted: set[bytes]) -> list[int]:
    return [
        int(name) for name in os.listdir("/proc") if name.isdigit() and wanted <= _environment(name)
    ]


def _environment(pid: str) -> set[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return set(file.read().split(b"\0"))
    except OSError:
        return set()


def _by_ps(wanted: set[bytes]) -> list[int]:
    found = (line.split() for line in _ps("-A", "pid=,command=").splitlines())
    return [int(words[0]) for words in found if wanted <= set(words)]


def _words(pid: str) -> list[bytes]:
    """The words and variables that ps shows of a process; a value with a space in it is cut."""
    return _ps(f"-p{pid}", "command=").split()


def _ps(which: str, columns: str) -> bytes:
    import subprocess

    return subprocess.run(
        ["ps", which, "-E", "-ww", "-o", columns], capture_output=True, check=False
    ).stdout


def now() -> float:
    """The time that `descendants` compares: seconds since the boot, as the kernel counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else 0.0


def descendants(begun: float, run: tuple[str, int]) -> list[int]:
    """The ids of our descendants that a run may have started, which began at `begun`.

    They are found by their parents, whatever environment and session they have: an orphan becomes
    our child (libc.adopt_orphans). One that carries another run in its environment is not of this.
    """
    if sys.platform != "linux":
        return []
    first = int(begun * os.sysconf("SC_CLK_TCK"))
    states = {
        int(name): state
        for name in os.listdir("/proc")
        if name.isdigit() and (state := _status(name))
    }
    families: dict[int, list[int]] = {}
    for pid, state in states.items():
        families.setdefault(int(state[1]), []).append(pid)
    found = [pid for pid in families.get(os.getpid(), ()) if int(states[pid][19]) >= first]
    for pid in found:
        found += families.get(pid, ())
    return [pid for pid in found if states[pid][0] not in (b"Z", b"X") and _is_of(pid, run)]


def _is_of(pid: int, run: tuple[str, int]) -> bool:
    """Whether the environment of a process names this run, or none."""
    found = _environment(str(pid))
    own = {f"QUEUECTL_JOB_ID={run[0]}".encode(), f"QUEUECTL_ATTEMPT={run[1]}".encode()}
    return own <= found or not any(word.startswith(b"QUEUECTL_JOB_ID=") for word in found)


def in_group(group: int) -> bool:
    """Whether a process group has a process that has not ended; one that waits for its parent has."""
    if sys.platform != "linux":
        return True
    wanted = str(group).encode()
    states = (_status(name) for name in os.listdir("/proc") if name.isdigit())
    return any(state[2] == wanted and state[0] not in (b"Z", b"X") for state in states if state)


def _status(pid: str) -> list[bytes]:
    """State, parent, group and more of a process, as proc(5) has them behind the name."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def end_all(
    worker: str, grace: float, run: tuple[str, int] | None = None, spool: str | None = None
) -> bool:
    """End every process of a worker, or of one run: TERM, and KILL after `grace` seconds.

    `spool` as in `carrying`; a worker that ends its own processes needs none. False: some are
    still there.
    """
    return end_each(lambda: of_worker(worker, run, spool), grace)


def end_each(find: Callable[[], list[int]], grace: float) -> bool:
    """End the processes that `find` answers: TERM, and KILL after `grace` seconds. False: some are still there."""
    left = find()
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_PATIENCE)):
        _signal(left, number)
        deadline = time.monotonic() + patience
        while left := find():
            if number == signal.SIGKILL:
                _signal(left, number)  # also what they have started since
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE)
    return not left


def terminate(worker: str, run: tuple[str, int], spool: str) -> None:
    """Ask every process of a worker's run in a spool to end, and wait for none."""
    _signal(of_worker(worker, run, spool), signal.SIGTERM)


def kill(pid: int) -> None:
    """SIGKILL one process, if it is still there."""
    _signal([pid], signal.SIGKILL)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass
