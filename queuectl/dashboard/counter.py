"""The counter: a child process that takes the census, so that no page waits for a directory of a million names.

It is forked before the server begins, sends a report whenever something has changed, and
makes an index of each directory that is too large to be read for a page. The files of
indexes have no names: they come through the socket, as descriptors.

Promises
    It ends when the server is gone, and leaves nothing behind.
    A page never waits for it: there is always the last report.
Leaves to others
    counting (census), sorting (index).
Raises
    CounterDied when it is gone.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import time
from typing import IO, Any, NoReturn

from queuectl.census import ORDER, Census, Keep
from queuectl.dashboard.index import Index, Maker, is_reverse, line
from queuectl.errors import QueuectlError
from queuectl.filename import has_shape, stamp
from queuectl.spool import Spool

#: Names that a directory may have to be read for each page.
FEW = 3000

#: Names that may come after those of an index before it is made anew, and seconds for which it lasts if any came.
LATE, LASTS = 2000, 900.0

#: Seconds between two glances, and before one that somebody asked for: more may be on its way.
GLANCE, HURRY = 0.5, 0.05

#: What stands before a report: the bytes it has.
_HEAD = struct.Struct("!Q")


class CounterDied(QueuectlError):
    """The counter is gone, and with it every new count."""


class Counter:
    """The server's end. `report` is the newest, `indexes` those of large directories, `number` changes with them."""

    def __init__(self, spool: Spool) -> None:
        self._socket, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            self._socket.close()
            _Child(spool, theirs).run()
        theirs.close()
        self.report: dict[str, Any] = {}
        self.indexes: dict[str, Index] = {}
        self.number = 0

    def fileno(self) -> int:
        """What becomes readable when a report has come."""
        return self._socket.fileno()

    def receive(self) -> None:
        """Take the report that has come, or wait for it."""
        report, fds = self._message()
        indexes = {
            state: index for state, index in self.indexes.items() if state in report["indexed"]
        }
        for state, fd in zip(report.pop("fresh"), fds, strict=True):
            indexes[state] = Index(fd, reverse=is_reverse(state))
        for state, late in report.pop("late").items():
            indexes[state].late = late
        self.report, self.indexes = report, indexes
        self.number += 1

    def _message(self) -> tuple[dict[str, Any], list[int]]:
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, _HEAD.size, len(ORDER))
            while len(data) < _HEAD.size:
                data += self._some(_HEAD.size - len(data))
            left, parts = _HEAD.unpack(data)[0], []
            while left:
                parts.append(self._some(min(left, 1 << 20)))
                left -= len(parts[-1])
        except ConnectionError:
            raise CounterDied(
                f"the process that counts the jobs (pid {self.pid}) has died; start the dashboard again"
            ) from None
        return json.loads(b"".join(parts)), fds

    def _some(self, most: int) -> bytes:
        data = self._socket.recv(most)
        if not data:
            raise ConnectionResetError
        return data

    def hurry(self) -> None:
        """Something was changed here: look soon."""
        with contextlib.suppress(OSError):
            self._socket.send(b"!", socket.MSG_DONTWAIT)

    def close(self) -> None:
        """End it."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


class _Child:
    """The counter's own end."""

    def __init__(self, spool: Spool, line: socket.socket) -> None:
        self.spool, self.line = spool, line
        self.census = Census(spool)
        self.makers: dict[str, Maker] = {}
        self.indexed: dict[str, tuple[str, float]] = {}
        self.late: dict[str, list[str]] = {}
        self.now = ""

    def run(self) -> NoReturn:
        """Count until the server is gone. The process ends here."""
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            gc.freeze()
            self._count()
            code = 0
        except ConnectionError:
            code = 0
        finally:
            os._exit(code)

    def _count(self) -> None:
        self._send()
        while self._rest():
            self.now = stamp(self.spool.now())
            # The quick ones first: nobody waits for those that are large.
            for states in (ORDER[:-2], ORDER[-2:-1], ORDER[-1:]):
                self.makers = {}
                with contextlib.suppress(
                    FileNotFoundError, PermissionError
                ):  # the spool is away; the last report stays
                    if self.census.look(self._wants, states) or any(
                        maker.count > FEW for maker in self.makers.values()
                    ):
                        self._send()

    def _rest(self) -> bool:
        """Wait for the next glance. False: the server is gone."""
        if select.select([self.line], [], [], GLANCE if self.census.seen else 0)[0]:
            if not self.line.recv(64):
                return False
            time.sleep(HURRY)
        return True

    def _wants(self, state: str) -> Keep | None:
        """What hears of the names in a state: an index is made, or lasts and learns what is new."""
        if state == "rejected":
            return None
        newest, made = self.indexed.get(state, ("", 0.0))
        if (
            is_reverse(state)
            and newest
            and len(self.late.get(state, ())) <= LATE
            and time.monotonic() - made < LASTS
        ):
            self.late[state] = []
            return self._note_late
        self.makers[state] = Maker(reverse=is_reverse(state))
        return self._index

    def _index(self, state: str, text: str) -> None:
        if has_shape(text.partition("/")[0]):
            self.makers[state].add(line(state, text, self.now))

    def _note_late(self, state: str, text: str) -> None:
        if (
            "00" + text > self.indexed[state][0]
            and has_shape(text)
            and len(self.late[state]) <= LATE
        ):
            self.late[state].append("00" + text)

    def _send(self) -> None:
        files = {state: maker.finish() for state, maker in self.makers.items() if maker.count > FEW}
        for state in self.makers:
            self.late.pop(state, None)
            self.indexed.pop(state, None)
        for state, file in files.items():
            self.indexed[state] = (_first(file), time.monotonic())
        report = {
            **self.census.report(),
            "fresh": list(files),
            "indexed": list(self.indexed),
            "late": self.late,
        }
        data = json.dumps(report).encode()
        socket.send_fds(
            self.line, [_HEAD.pack(len(data))], [file.fileno() for file in files.values()]
        )
        self.line.sendall(data)
        for file in files.values():
            file.close()


def _first(file: IO[str]) -> str:
    file.seek(0)
    return file.readline().rstrip("\n")
