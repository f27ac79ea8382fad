"""Running a command: start it, wait for it, end it when it must end, and say how it went.

The command is a session of its own, so that all it starts can be signalled together.
Its output goes straight into the log files; not a byte passes through Python.

Promises
    run always answers an Ended: a command that cannot be started is an answer, too.
    When a command must end, its whole process group gets TERM, and KILL after a grace.
    It waits in the kernel: no polling, and no signal is missed (they ring the wake pipe).
Leaves to others
    what an end means for the job (retry), who wants it ended and why (worker).
Raises
    OSError only for our own files (logs, stdin).
"""

from __future__ import annotations

import errno
import functools
import math
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from queuectl import processes

Cause = Literal["timeout", "cancelled", "interrupted", "output"]

#: The shell's exit codes for a program that is not there, and one that cannot be run.
NOT_FOUND, NOT_RUNNABLE = 127, 126

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
    """What to run. `stdout` and `stderr` are descriptors; `timeout` and `grace` seconds, `max_output` bytes; 0 is no limit.

    `printed` answers the bytes printed so far; `lasts` is called once, if the command has not ended soon.
    """

    command: str | tuple[str, ...]
    cwd: str
    env: Mapping[bytes, bytes]
    stdin: str | None
    stdout: int
    stderr: int
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


class CannotStart(Exception):
    """The command could not be started; `exit_code` as the shell would say it."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def run(order: Order, wake: int, asked: Callable[[], Cause | None]) -> Ended:
    """Run a command to its end.

    `wake` becomes readable whenever a signal arrives (signal.set_wakeup_fd); then `asked` is called and says whether the
    command must end. Where `sees_ends` is false, SIGCHLD must have a handler.
    """
    started = time.time()
    try:
        pid = _spawn(order)
    except CannotStart as error:
        return Ended(started, time.time(), exit_code=error.exit_code, reason=str(error))
    watch = _watch(pid)
    try:
        status, usage, cause = _wait(pid, watch, order, wake, asked)
    finally:
        if watch is not None:
            os.close(watch)
    code, cpu, peak = os.waitstatus_to_exitcode(status), round(usage.ru_utime + usage.ru_stime, 6), usage.ru_maxrss
    rss = _peak(peak) if peak > _own_peak else None
    return Ended(started, time.time(), code if code >= 0 else None, -code if code < 0 else None, cause, None, cpu, rss)


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
        raise CannotStart(f"cannot enter the directory {order.cwd}: {error.strerror}", NOT_RUNNABLE) from None
    stdin = _nothing() if order.stdin is None else _input(order.stdin)
    try:
        program = argv[0] if "/" in argv[0] else _program(argv[0], order.env)
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, order.stdout, 1), (os.POSIX_SPAWN_DUP2, order.stderr, 2)]
        try:
            return os.posix_spawn(program, argv, order.env, file_actions=actions, setsid=True, setsigmask=[], setsigdef=_DEFAULTS)
        except OSError as error:
            code = NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_RUNNABLE
            raise CannotStart(f"cannot start {program}: {_why(error)}", code) from None
    finally:
        if order.stdin is not None:
            os.close(stdin)


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
        raise CannotStart(f"cannot keep its stdin in {tempfile.gettempdir()}: {error.strerror}", NOT_RUNNABLE) from None


def _program(word: str, env: Mapping[bytes, bytes]) -> str:
    """The file to run for the first word of a command, found on the command's own PATH."""
    import shutil

    found = shutil.which(word, path=os.fsdecode(env.get(b"PATH", os.fsencode(os.defpath))))
    if found is None:
        raise CannotStart(f"no program {word!r} on the PATH of the job", NOT_FOUND)
    return found


@functools.cache
def sees_ends() -> bool:
    """Whether the system tells of a child's end by a descriptor; else SIGCHLD must."""
    return _watch(os.getpid()) is not None


def _watch(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None: there is no such thing here."""
    try:
        return os.pidfd_open(pid) if sys.platform == "linux" else None
    except OSError:
        return None


def _wait(
    pid: int, watch: int | None, order: Order, wake: int, asked: Callable[[], Cause | None]
) -> tuple[int, resource.struct_rusage, Cause | None]:
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    if watch is not None:
        poll.register(watch, select.POLLIN)
    is_blind = watch is None and sees_ends()  # out of descriptors: then look from time to time
    longest = OUTPUT_PAUSE if order.max_output or is_blind else LONGEST_WAIT
    now = time.monotonic()
    deadline = now + order.timeout if order.timeout else math.inf
    seen = now + LASTS
    cause: Cause | None = None
    while True:
        ready = poll.poll(1000 * max(0.0, min(deadline - now, seen - now, longest)))
        if ready != [(watch, select.POLLIN)]:
            drain(wake)
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
        _end_group(pid, 0.0 if deadline == math.inf else deadline, lambda: asked() == "interrupted" != cause)
    return status, usage, cause


def _too_much(order: Order) -> Cause | None:
    return "output" if order.max_output and order.printed() > order.max_output else None


def _end_group(group: int, deadline: float, hurry: Callable[[], bool]) -> None:
    """See that the children of a command that had to end are gone, too."""
    while _signal_group(group, 0) and processes.in_group(group):
        now = time.monotonic()
        if now < deadline and hurry():
            deadline = now
        if now >= deadline:
            _signal_group(group, signal.SIGKILL)
        if now >= deadline + KILL_PATIENCE:
            return  # not even KILL ends them yet: they wait for a dead disk
        time.sleep(_PAUSE)


def _signal_group(group: int, number: int) -> bool:
    """Signal a process group. False: nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # macOS says so of a group of zombies; a set-uid child keeps its group alive
    return True


def wake_pipe() -> tuple[int, int]:
    """A pipe that becomes readable at every signal that has a handler: (its end to wait on, the other end)."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader, writer


def drain(wake: int) -> None:
    """Empty the wake pipe."""
    try:
        while len(os.read(wake, 4096)) == 4096:
            pass
    except BlockingIOError:
        pass


def rest(wake: int, seconds: float) -> None:
    """Wait; a signal ends the wait."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    poll.poll(seconds * 1000)
    drain(wake)
