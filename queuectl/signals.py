"""Signals: how a process of ours hears them while it waits.

Who waits for descriptors has a wake pipe: it becomes readable at every signal that has
a handler, so none comes unheard between a look and the wait.

Who runs commands, in a process of one thread, is a Listener: signals wait while it works, and are taken when it
waits, for the end of a command, for the clock and for people in one system call. The
handlers are the usual ones, and run inside of `hear` and `attend` only.

Promises
    No signal is lost, and none interrupts what a Listener does.
Leaves to others
    what a signal means: whoever sets the handlers.
Raises
    nothing.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

#: What stops those who run workers.
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

#: What a Listener hears. SIGCHLD only ends a wait, and so does SIGIO, which tells of output.
CALLS = (int(signal.SIGCHLD), int(signal.SIGTERM), int(signal.SIGQUIT), int(signal.SIGUSR1))
HEARD = (*CALLS, int(signal.SIGIO))

#: The signals that only end a wait.
_BELLS = (int(signal.SIGCHLD), int(signal.SIGIO))

#: Seconds of the longest single wait: poll(2) counts milliseconds in 31 bits; and of the longest
#: where output rings no bell that is heard for certain.
LONGEST, LONGEST_UNHEARD = 86400.0, 0.05

#: Whether the system lets a signal be taken instead of delivered.
_TAKES = hasattr(signal, "sigtimedwait")


def wake_pipe() -> tuple[int, int]:
    """A pipe that becomes readable at every signal that has a handler: (its end to wait on, the other end)."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader, writer


def ring(number: int, frame: FrameType | None) -> None:
    """A handler that does nothing else than let the signal ring the wake pipe."""


def stop_by(handler: Callable[[int, FrameType | None], None]) -> None:
    """Let `handler` hear what stops us; but INT and HUP stay ignored if they are: nohup, or a shell's &, wants that."""
    for number in STOPS:
        if (
            number not in (signal.SIGINT, signal.SIGHUP)
            or signal.getsignal(number) != signal.SIG_IGN
        ):
            signal.signal(number, handler)


@contextmanager
def deaf(numbers: Iterable[int] = STOPS) -> Iterator[None]:
    """These signals, or all that stop us, are heard at the end of this; by a child that is forked here once it unblocks them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def await_blocked(numbers: Sequence[int], seconds: float) -> bool:
    """Wait so long for one of these signals, which are blocked; False: none has come."""
    if _TAKES:
        return _take(numbers, seconds) != 0
    time.sleep(seconds)
    return bool(signal.sigpending() & set(numbers))


def _take(numbers: Sequence[int], seconds: float) -> int:
    """Wait so long for one of these signals, and take it; 0: none has come."""
    found = signal.sigtimedwait(numbers, seconds)
    # Who was stopped (SIGSTOP, a debugger, a frozen container) until after the end of the wait gets an answer that nobody wrote.
    return found.si_signo if found is not None and found.si_signo in numbers else 0


def drain(wake: int) -> None:
    """Empty the wake pipe."""
    try:
        while len(os.read(wake, 4096)) == 4096:
            pass
    except BlockingIOError:
        pass


class Listener:
    """Lets the signals of this process wait until it listens, from now on to `close`."""

    def __init__(self) -> None:
        #: The signals that stay blocked, and are taken; none where the system cannot.
        self.kept = HEARD if _TAKES else ()
        self.longest = LONGEST if _TAKES else LONGEST_UNHEARD
        self._wake, self._waker = wake_pipe()
        if self.kept:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would never come
            signal.signal(signal.SIGIO, signal.SIG_IGN)  # it comes while it is blocked
            signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        else:
            signal.signal(signal.SIGCHLD, ring)
            signal.signal(signal.SIGIO, ring)

    def hear(self, seconds: float, *, output: bool = False) -> None:
        """Wait so long, at most until a signal has come or a child has ended.

        The handler of the signal has run then. With `output`, output that comes ends the wait.
        """
        if not self.kept:
            self._sleep(None, seconds)
            return
        heard = _take(HEARD if output else CALLS, seconds)
        if heard and heard not in _BELLS:
            _obey(heard)

    def attend(self, fd: int) -> bool:
        """Wait until `fd` is readable (True), or a signal has come."""
        if not self.kept:
            return self._sleep(fd, None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        try:
            # RACE: a signal that comes before the wait has rung the wake pipe.
            return self._sleep(fd, None)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)

    def _sleep(self, fd: int | None, seconds: float | None) -> bool:
        poll = select.poll()
        for one in (self._wake, fd):
            if one is not None:
                poll.register(one, select.POLLIN)
        ready = {one for one, _ in poll.poll(None if seconds is None else 1000 * seconds)}
        drain(self._wake)
        return fd in ready

    def close(self) -> None:
        """Let signals come as they did before."""
        signal.set_wakeup_fd(-1)
        os.close(self._wake)
        os.close(self._waker)
        if self.kept:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)


def _obey(number: int) -> None:
    """Do what a signal that was taken would have done."""
    handler = signal.getsignal(number)
    if callable(handler):
        handler(number, None)
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        signal.raise_signal(number)
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])  # for one that is ignored
