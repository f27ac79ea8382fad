"""Turns: how the supervisors of several spools share one number of workers.

Each supervisor has as many workers as may work in all, so that one busy spool may use
them all; but to give names to a worker it needs a turn. The fleet that started them has
so many turns, and gives them to those that ask, spool by spool, in a round. A turn lasts
until its worker asks for more names: for the few names that take 50 ms, or for one long job.

    to the fleet      ready | ask | end
    from the fleet    turn

Promises
    No more workers have names than there are turns; with a supervisor its turns come back.
    Nobody keeps a turn that it cannot use.
Leaves to others
    starting the supervisors (fleet), which worker gets which names (dealer).
Raises
    nothing.
"""

from __future__ import annotations

from collections import deque

from queuectl.wire import Line


class Turns:
    """The supervisor's end of the line to the fleet. Workers are named by their process ids."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._free = self._asked = 0
        self._held: set[int] = set()

    @property
    def reader(self) -> int:
        """What becomes readable when a turn has come, or the fleet is gone."""
        return self._line.reader

    def descriptors(self) -> list[int]:
        """What no child of the supervisor may keep open."""
        return [self._line.reader, self._line.writer]

    def hear(self) -> bool:
        """Take what has come. False: the fleet is gone."""
        messages = self._line.receive()
        for _ in messages or ():
            self._asked -= 1
            self._free += 1
        return messages is not None

    def take(self, pid: int, hungry: int) -> bool:
        """A turn for this worker, one of so many that want names. False: it has been asked for."""
        if self._free:
            self._free -= 1
            self._held.add(pid)
            return True
        while self._asked < hungry:
            self._asked += 1
            self._line.put_off("ask")
        self._line.flush()
        return False

    def end(self, pid: int) -> None:
        """The worker has done what it had, or is dead."""
        if pid in self._held:
            self._held.remove(pid)
            self._line.send("end")

    def rest(self) -> None:
        """There is nothing to do for the turns that nobody uses."""
        while self._free:
            self._free -= 1
            self._line.put_off("end")
        self._line.flush()


class Round:
    """The fleet's end: `count` turns, and the lines to the supervisors by number."""

    def __init__(self, count: int) -> None:
        self.lines: dict[int, Line] = {}
        self._free = count
        self._held: dict[int, int] = {}
        self._asking: deque[int] = deque()

    def add(self, number: int, line: Line) -> None:
        """Let a supervisor take part."""
        self.lines[number], self._held[number] = line, 0

    def listen(self, number: int) -> bool:
        """Hear what a supervisor says: whether that it is ready. The end of its line ends its turns."""
        messages = self.lines[number].receive()
        if messages is None:
            self._drop(number)
        for verb, _ in messages or ():
            if verb == "ask":
                self._asking.append(number)
            elif verb == "end":
                self._held[number] -= 1
                self._free += 1
        self._give()
        return any(verb == "ready" for verb, _ in messages or ())

    def _drop(self, number: int) -> None:
        """A supervisor has ended."""
        self.lines.pop(number).close()
        self._free += self._held.pop(number)
        self._asking = deque(other for other in self._asking if other != number)

    def _give(self) -> None:
        """Give what is free: to the spool that has the fewest turns, and among those to the one that asked first."""
        while self._free and self._asking:
            number = min(self._asking, key=self._held.__getitem__)
            self._asking.remove(number)
            self._free -= 1
            self._held[number] += 1
            self.lines[number].send("turn")
