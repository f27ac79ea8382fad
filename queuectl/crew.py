"""The crew: the worker processes of one supervisor, and what it knows of each.

Promises
    A worker is forked with the signals blocked that its own handlers are for.
    It keeps none of the pipes to the other workers, so that each pipe ends with its two ends.
Leaves to others
    what a worker does (worker), which names it gets (dealer), its death (supervisor).
Raises
    OSError when there is no process or descriptor left.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from queuectl import signals, wire

#: The signals that mean something to a worker; blocked until it can understand them.
SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)

#: Seconds for which a handed-out name is left alone: after that its worker is busy with another job.
HELD = 0.25

#: Seconds of work that a worker asks for at a time: few enough that no name waits long behind a slow job.
AHEAD = 0.05


class Hand:
    """One worker, as its supervisor sees it. `wants`: how many names it waits for; `held`: those it was given
    last; `beaten`: when a heartbeat for it was last written."""

    def __init__(
        self, pid: int, line: wire.Line, started: float, name: str = "", wants: int = 0
    ) -> None:
        self.pid, self.line, self.started, self.name, self.wants = pid, line, started, name, wants
        self.beaten = time.monotonic()
        self.held: set[str] = set()
        self.held_since = 0.0

    def is_quick(self) -> bool:
        """Whether it was given names only just now, and so is likely to want more soon."""
        return time.monotonic() - self.held_since < HELD

    def is_claiming(self) -> bool:
        """Whether it was given names that it may be about to claim; after a while it is busy with a long job instead."""
        return bool(self.held) and self.is_quick()


class Crew:
    """The workers, by process id."""

    def __init__(self) -> None:
        self.hands: dict[int, Hand] = {}

    def known(self) -> list[Hand]:
        """Those that have said who they are."""
        return [hand for hand in self.hands.values() if hand.name]

    def in_words(self) -> str:
        """How many there are, and how many have nothing to do."""
        known = self.known()
        return f"{len(known)} workers, {sum(not hand.wants for hand in known)} of them busy"

    def tell(self, number: signal.Signals) -> None:
        """Signal them all; none has been collected yet, so every process id is still its own."""
        for pid in self.hands:
            os.kill(pid, number)

    def descriptors(self) -> list[int]:
        """Our ends of the pipes to all of them."""
        return [fd for hand in self.hands.values() for fd in (hand.line.reader, hand.line.writer)]

    def hire(self, work: Callable[[wire.Line], None]) -> None:
        """Fork a worker; there `work` is called, with its end of the pipes and SIGNALS blocked, and never returned from."""
        here, there = wire.pair()
        # RACE: a signal before the child has handlers of its own would reach ours there, and nobody.
        with signals.deaf(SIGNALS):
            try:
                pid = os.fork()
            except OSError:
                here.close()
                there.close()
                raise
            if not pid:
                code = 1
                try:
                    here.close()
                    work(there)
                    code = 0
                finally:
                    os._exit(code)
        there.close()
        self.hands[pid] = Hand(pid, here, time.monotonic())
