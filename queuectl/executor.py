"""Running a command: start it, move its output, wait for its end, and say how it ended.

A command has a process group of its own, so that one signal reaches all that it starts.

Promises
    run always answers an Ended: a command that cannot be started is an answer, too.
    A command that must end gets TERM in its whole process group, and KILL after a grace.
    It waits in the kernel: no polling, and no signal is missed (signals).
Leaves to others
    where output goes (capture), what an end means for the job (retry), who ends it (worker).
    a session without a terminal: the caller has called `os.setsid`.
Raises
    Full when the machine has no process, memory or descriptor left for a command.
"""

from __future__ import annotations

import errno
import functools
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from queuectl import processes
from queuectl.signals import Listener

#: What posix_spawn does with a descriptor before the command begins.
Action = tuple[int, ...] | tuple[int, int, str, int, int]

Cause = Literal["timeout", "cancelled", "interrupted", "output"]

#: The shell's exit codes for a program that is not there, and one that cannot be run.
NOT_FOUND, NOT_RUNNABLE = 127, 126

#: What the system says when the machine is full, which is not the command's fault.
_FULL = (errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.ENOSPC, errno.EDQUOT)

#: Why a program cannot be started, and the cure; no retry mends these.
_FINAL = {
    errno.ENOENT: "there is no such program, or its #! line names none; install it",
    errno.ENOTDIR: "a part of its path is not a directory; correct the path",
    errno.EACCES: "it is not executable; use chmod +x",
    errno.ENOEXEC: "it is neither a program nor a script; begin it with a #! line",
    errno.E2BIG: "its arguments and environment are too long; pass data by a file or by stdin",
    errno.ENAMETOOLONG: "its name is too long; correct the command",
    errno.ELOOP: "its symbolic links form a loop; correct the path",
    errno.EISDIR: "it is a directory; correct the path",
}

#: Seconds for which nobody looks at output: most commands end sooner, and their pipes hold it.
QUICK = 0.005

#: Seconds between two looks at output that comes in small pieces.
BATCH = 0.01

#: Bytes moved in one look from which on the next look is at once.
BULK = 16384

#: Seconds that the children of an ended command may need to vanish after KILL.
KILL_PATIENCE = 2

#: Seconds between two looks at whether the children of a command that was ended are gone.
_PAUSE = 0.01

#: ru_maxrss counts kilobytes, but bytes on macOS.
_RSS_UNIT = 1024 if sys.platform == "darwin" else 1

#: Seconds after which a command counts as one that lasts.
LASTS = 0.05

_DEFAULTS = [int(s) for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)]


class Output(Protocol):
    """Where the output of a command goes: see capture.Capture."""

    def actions(self) -> list[Action]:
        """What gives a command its stdout and stderr."""

    def started(self) -> None:
        """The command has them."""

    def ring(self) -> None:
        """Send SIGIO to this process when output comes, from now on."""

    def drain(self) -> int:
        """Move what has come; the number of bytes."""

    def is_over(self) -> bool:
        """Whether more was printed than is allowed."""


class Order(NamedTuple):
    """What to run. `timeout` and `grace` are seconds; a timeout of 0 is none.

    `lasts` is called once, if the command has not ended soon.
    """

    command: str | tuple[str, ...]
    cwd: str
    env: Mapping[bytes, bytes]
    stdin: str | None
    output: Output
    timeout: float
    grace: float
    lasts: Callable[[], None]


class Ended(NamedTuple):
    """How a run went. `cause` says why we ended it, `reason` why it could not start.

    `is_final`: no retry can mend that. Times are seconds since 1970.
    """

    started_at: float
    finished_at: float
    exit_code: int | None = None
    signal: int | None = None
    cause: Cause | None = None
    reason: str | None = None
    cpu_seconds: float | None = None
    max_rss_kb: int | None = None
    is_final: bool = False


class Full(OSError):
    """The machine has no room for another process: nothing has been started."""


class CannotStart(Exception):
    """The command could not be started; `exit_code` is what a shell would say.

    `is_final`: no retry can mend that.
    """

    def __init__(self, reason: str, exit_code: int, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.exit_code, self.is_final = exit_code, is_final


def run(order: Order, listener: Listener, asked: Callable[[], Cause | None]) -> Ended:
    """Run a command to its end.

    `asked` is called whenever the listener has heard a signal; it says whether, and why, the
    command must end.
    """
    started = time.time()
    try:
        pid = _spawn(order)
    except CannotStart as error:
        code, reason = error.exit_code, str(error)
        return Ended(started, time.time(), code, reason=reason, is_final=error.is_final)
    order.output.started()
    status, usage, cause = _wait(pid, order, listener, asked)
    code = os.waitstatus_to_exitcode(status)
    cpu, peak = round(usage.ru_utime + usage.ru_stime, 6), usage.ru_maxrss
    rss = _peak(peak) if peak > _own_peak else None
    number = -code if code < 0 else None
    return Ended(started, time.time(), code if code >= 0 else None, number, cause, None, cpu, rss)


_own_peak = 0


def _peak(peak: int) -> int | None:
    """The peak memory of a child in kilobytes; None if it is not above ours, which it counts until it is another program."""
    global _own_peak
    _own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // _RSS_UNIT if peak > _own_peak else None


def _spawn(order: Order) -> int:
    argv = ("/bin/sh", "-c", order.command) if isinstance(order.command, str) else order.command
    try:
        # posix_spawn cannot change the directory in the child.
        os.chdir(order.cwd)
    except OSError as error:
        reason = f"cannot enter the directory {order.cwd}: {error.strerror}"
        raise CannotStart(reason, NOT_RUNNABLE) from None
    stdin = _nothing() if order.stdin is None else _input(order.stdin)
    try:
        program = argv[0] if "/" in argv[0] else _program(argv[0], order.env)
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), *order.output.actions()]
        try:
            return os.posix_spawn(
                program,
                argv,
                order.env,
                file_actions=actions,
                setpgroup=0,
                setsigmask=[],
                setsigdef=_DEFAULTS,
            )
        except OSError as error:
            if error.errno in _FULL:
                raise Full(error.errno, error.strerror, program) from None
            raise _refusal(program, error) from None
    finally:
        if order.stdin is not None:
            os.close(stdin)


def _refusal(program: str, error: OSError) -> CannotStart:
    code = NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_RUNNABLE
    why = _FINAL.get(errno.EISDIR if os.path.isdir(program) else error.errno or 0)
    reason = f"cannot start {program}: {why or error.strerror or error}"
    return CannotStart(reason, code, is_final=why is not None)


def reap() -> None:
    """Collect the orphans of commands that have ended since: we are their parent by now."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def has_room() -> bool:
    """Whether the machine has room for another process."""
    try:
        pid = os.posix_spawn("/bin/sh", ("/bin/sh", "-c", ":"), {})
    except OSError as error:
        return error.errno not in _FULL
    os.waitpid(pid, 0)
    return True


@functools.cache
def _nothing() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _input(text: str) -> int:
    """A descriptor that reads `text`, from memory where the system can."""
    try:
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("stdin")
        else:
            import tempfile

            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
    except OSError as error:
        raise Full(error.errno, error.strerror, "stdin") from None
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError as error:
        os.close(fd)
        raise Full(error.errno, error.strerror, "stdin") from None
    return fd


def _program(word: str, env: Mapping[bytes, bytes]) -> str:
    """The file to run for the first word of a command, found on the command's own PATH."""
    import shutil

    found = shutil.which(word, path=os.fsdecode(env.get(b"PATH", os.fsencode(os.defpath))))
    if found is None:
        why = "install it, set PATH by the job's env, or write its full path"
        reason = f"no program {word!r} on the PATH of the job; {why}"
        raise CannotStart(reason, NOT_FOUND, is_final=True)
    return found


def _wait(
    pid: int, order: Order, listener: Listener, asked: Callable[[], Cause | None]
) -> tuple[int, resource.struct_rusage, Cause | None]:
    """Wait for the end of a command, moving its output; end it if it must end."""
    output, now = order.output, time.monotonic()
    deadline = now + order.timeout if order.timeout else math.inf
    seen, pause, moved = now + LASTS, QUICK, 0
    rings = False
    cause: Cause | None = None
    while True:
        wait = max(0.0, min(deadline - now, seen - now, pause))
        listener.hear(wait, output=not moved)
        done, status, usage = os.wait4(-1, os.WNOHANG)
        while done not in (0, pid):  # an orphan that we adopted; one SIGCHLD may be of several
            done, status, usage = os.wait4(-1, os.WNOHANG)
        if done:
            break
        if not rings:
            rings = True
            output.ring()
        # RACE: what came before the bell was set is moved now.
        moved = output.drain()
        pause = listener.longest if not moved else BATCH if moved < BULK else 0.0
        now = time.monotonic()
        if now >= seen:
            seen = math.inf
            order.lasts()
        late = now >= deadline
        if cause is None:
            cause = asked() or ("timeout" if late else None) or _too_much(order)
            if cause:
                _signal_group(pid, signal.SIGTERM)
                deadline = time.monotonic() + order.grace
        elif late or asked() == "interrupted" != cause:
            _signal_group(pid, signal.SIGKILL)
            deadline = math.inf
        now = time.monotonic()
    if cause:
        until = 0.0 if deadline == math.inf else deadline
        _end_group(pid, until, listener, output, lambda: asked() == "interrupted" != cause)
    return status, usage, cause


def _too_much(order: Order) -> Cause | None:
    return "output" if order.output.is_over() else None


def _end_group(
    group: int, deadline: float, listener: Listener, output: Output, hurry: Callable[[], bool]
) -> None:
    """See that the children of a command that had to end are gone, too."""
    while _signal_group(group, 0) and processes.in_group(group):
        now = time.monotonic()
        if now < deadline and hurry():
            deadline = now
        if now >= deadline:
            _signal_group(group, signal.SIGKILL)
        if now >= deadline + KILL_PATIENCE:
            return  # not even KILL ends them yet: they wait for a dead disk
        output.drain()  # a full pipe would keep them
        listener.hear(_PAUSE, output=False)


def _signal_group(group: int, number: int) -> bool:
    """Signal a process group. False: nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # macOS says so of a group of zombies; a set-uid child keeps its group alive
    return True
