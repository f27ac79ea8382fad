"""The phase of a supervisor's life, and what each signal asks of it.

    TERM, HUP, INT             finish: running jobs end by themselves, no other begins
    QUIT, Ctrl+C twice         end: running commands are ended, their jobs go back uncounted
    IGNORED                    nothing

Promises
    A request carries what it asks for. Nothing is counted: asking again changes nothing.
    Only on a terminal are two INTs a stronger request than one, and only INTERVAL apart: a process
    group gets Ctrl+C whole, and wrappers such as `npm` and `make` pass it on once more.
Leaves to others
    what is done in a phase (supervisor, fleet); signals of workers (life).
Raises
    nothing.
"""

from __future__ import annotations

import enum
import os
import signal
import time
from collections.abc import Callable

from queuectl import signals

#: Seconds between two INTs that count as two presses of Ctrl+C.
INTERVAL = 0.5

_UNUSED = (
    "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT",
    "SIGPIPE", "SIGXFSZ",
)  # fmt: skip

#: Signals that have no meaning here and would end a process that does not ignore them.
IGNORED = (
    *(getattr(signal, name) for name in _UNUSED if hasattr(signal, name)),
    *(range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if hasattr(signal, "SIGRTMIN") else ()),
)


class Phase(enum.IntEnum):
    """What a supervisor does about jobs, from the least urgent request to the most urgent."""

    RUNNING = 0
    FINISHING = 1
    ENDING = 2


class Requests:
    """What was asked of this process. Handlers of signals add to it at any moment."""

    def __init__(self) -> None:
        self._asked = {Phase.RUNNING}
        self._interrupts = Interrupts()

    @property
    def phase(self) -> Phase:
        """The strongest request so far."""
        return max(self._asked)

    def ask(self, phase: Phase) -> None:
        """Ask for this phase; one that is stronger stays."""
        self._asked.add(phase)

    def by_signal(self, number: int) -> None:
        """Ask for what a signal stands for."""
        is_hard = number == signal.SIGQUIT or (
            number == signal.SIGINT and self._interrupts.is_second() and _has_terminal()
        )
        self.ask(Phase.ENDING if is_hard else Phase.FINISHING)


class Interrupts:
    """Tells a second Ctrl+C from one that arrives twice."""

    def __init__(self) -> None:
        self._first: float | None = None

    def is_second(self) -> bool:
        """Take note of an INT: whether somebody pressed Ctrl+C before."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
        return now - self._first >= INTERVAL


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def hear(asked: Callable[[int], None]) -> None:
    """Let signals that ask for something call `asked`, and ignore those without a meaning. It needs a wake pipe."""
    signals.stop_by(lambda number, _: asked(number))
    signal.signal(signal.SIGCHLD, signals.ring)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
