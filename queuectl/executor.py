"""Running a command: start it, wait for it, end it when it must end, and say how it went.

The command is a process group of its own, so that all it starts can be signalled together.
Its output goes straight into the log files; not a byte passes through Python.

Promises
    run always answers an Ended: a command that cannot be started is an answer, too.
    When a command must end, its whole process group gets TERM, and KILL after a grace.
    It waits in the kernel: no polling, and no signal is missed (signals).
Leaves to others
    what an end means for the job (retry), who wants it ended and why (worker).
    a session of its own (`os.setsid`) for the caller: then its commands have no terminal either.
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
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from queuectl import processes
from queuectl.signals import Listener

#: What posix_spawn does with a descriptor before the command begins.
Action = tuple[int, ...] | tuple[int, int, str, int, int]

Cause = Literal["timeout", "cancelled", "interrupted", "output"]

#: The shell's exit codes for a program that is not there, and one that cannot be run.
NOT_FOUND, NOT_RUNNABLE = 127, 126

#: What is said when the machine is full, which is not the command's fault.
_FULL = (errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE)

#: Seconds between two looks at how much a command has printed, if that is limited.
OUTPUT_PAUSE = 0.2

#: Seconds of the longest single wait: poll(2) counts milliseconds in 31 bits.
LONGEST_WAIT = 86400.0

#: Seconds that the children of an ended command may need to vanish after KILL.
KILL_PATIENCE = 2

#: Seconds between two looks at whether the children of a command that was ended are gone.
_PAUSE = 0.01

#: ru_maxrss counts kilobytes, but bytes on macOS.
_RSS_UNIT = 1024 if sys.platform == "darwin" else 1

#: Seconds after which a command counts as one that lasts.
LASTS = 0.05

_DEFAULTS = [int(s) for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)]


class Order(NamedTuple):
    """What to run. `outputs` gives it its stdout and stderr; `timeout` and `grace` seconds, `max_output` bytes; 0 is no limit.

    `printed` answers the bytes printed so far; `lasts` is called once, if the command has not ended soon.
    """

    command: str | tuple[str, ...]
    cwd: str
    env: Mapping[bytes, bytes]
    stdin: str | None
    outputs: Iterable[Action]
    timeout: float
    grace: float
    max_output: int
    printed: Callable[[], int]
    lasts: Callable[[], None]


class Ended(NamedTuple):
    """How a run went. `cause` says why we ended it, `reason` why it could not start; times since 1970."""

    started_at: float
    finished_at: float
    exit_code: int | None = None
    signal: int | None = None
    cause: Cause | None = None
    reason: str | None = None
    cpu_seconds: float | None = None
    max_rss_kb: int | None = None


class Full(OSError):
    """The machine has no room for another process: nothing has been started."""


class CannotStart(Exception):
    """The command could not be started; `exit_code` as the shell would say it."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def run(order: Order, listener: Listener, asked: Callable[[], Cause | None]) -> Ended:
    """Run a command to its end. Whenever the listener has heard a signal `asked` is called, and says whether the command must end."""
    started = time.time()
    try:
        pid = _spawn(order)
    except CannotStart as error:
        return Ended(started, time.time(), exit_code=error.exit_code, reason=str(error))
    status, usage, cause = _wait(pid, order, listener, asked)
    code, cpu, peak = (
        os.waitstatus_to_exitcode(status),
        round(usage.ru_utime + usage.ru_stime, 6),
        usage.ru_maxrss,
    )
    rss = _peak(peak) if peak > _own_peak else None
    return Ended(
        started,
        time.time(),
        code if code >= 0 else None,
        -code if code < 0 else None,
        cause,
        None,
        cpu,
        rss,
    )


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
        raise CannotStart(
            f"cannot enter the directory {order.cwd}: {error.strerror}", NOT_RUNNABLE
        ) from None
    stdin = _nothing() if order.stdin is None else _input(order.stdin)
    try:
        program = argv[0] if "/" in argv[0] else _program(argv[0], order.env)
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), *order.outputs]
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
            code = NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_RUNNABLE
            raise CannotStart(f"cannot start {program}: {_why(error)}", code) from None
    finally:
        if order.stdin is not None:
            os.close(stdin)


def has_room() -> bool:
    """Whether the machine has room for another process."""
    try:
        pid = os.posix_spawn("/bin/sh", ("/bin/sh", "-c", ":"), {})
    except OSError as error:
        return error.errno not in _FULL
    os.waitpid(pid, 0)
    return True


def _why(error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "it is neither a program nor a script with a #! line"
    return error.strerror or str(error)


@functools.cache
def _nothing() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _input(text: str) -> int:
    """A descriptor that reads `text`."""
    import tempfile

    try:
        with tempfile.TemporaryFile() as file:
            file.write(text.encode())
            file.seek(0)
            return os.dup(file.fileno())
    except OSError as error:
        raise CannotStart(
            f"cannot keep its stdin in {tempfile.gettempdir()}: {error.strerror}", NOT_RUNNABLE
        ) from None


def _program(word: str, env: Mapping[bytes, bytes]) -> str:
    """The file to run for the first word of a command, found on the command's own PATH."""
    import shutil

    found = shutil.which(word, path=os.fsdecode(env.get(b"PATH", os.fsencode(os.defpath))))
    if found is None:
        raise CannotStart(f"no program {word!r} on the PATH of the job", NOT_FOUND)
    return found


def _wait(
    pid: int, order: Order, listener: Listener, asked: Callable[[], Cause | None]
) -> tuple[int, resource.struct_rusage, Cause | None]:
    longest = OUTPUT_PAUSE if order.max_output else LONGEST_WAIT
    now = time.monotonic()
    deadline = now + order.timeout if order.timeout else math.inf
    seen = now + LASTS
    cause: Cause | None = None
    while True:
        listener.hear(max(0.0, min(deadline - now, seen - now, longest)))
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
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
        _end_group(
            pid,
            0.0 if deadline == math.inf else deadline,
            listener,
            lambda: asked() == "interrupted" != cause,
        )
    return status, usage, cause or _too_much(order)  # it may have been quicker than we look


def _too_much(order: Order) -> Cause | None:
    return "output" if order.max_output and order.printed() > order.max_output else None


def _end_group(group: int, deadline: float, listener: Listener, hurry: Callable[[], bool]) -> None:
    """See that the children of a command that had to end are gone, too."""
    while _signal_group(group, 0) and processes.in_group(group):
        now = time.monotonic()
        if now < deadline and hurry():
            deadline = now
        if now >= deadline:
            _signal_group(group, signal.SIGKILL)
        if now >= deadline + KILL_PATIENCE:
            return  # not even KILL ends them yet: they wait for a dead disk
        listener.hear(_PAUSE)


def _signal_group(group: int, number: int) -> bool:
    """Signal a process group. False: nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # macOS says so of a group of zombies; a set-uid child keeps its group alive
    return True
