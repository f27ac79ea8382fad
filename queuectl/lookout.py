"""The lookout: what `queuectl top` shows of a spool, seen by a child process, so that no key waits for a disk.

A million names take a second to count, and a file server that is away blocks whoever
looks: the child does both. It sends a view whenever it has looked, and ends with us.

Promises
    The child rests ten times as long as a look took, and reads nothing from the terminal.
    It never outlives us, unless a file server holds it.
Leaves to others
    looking (sight), painting (picture), keys (cli).
Raises
    LookoutDied when the child is gone.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import time
from typing import Any, NoReturn

from queuectl import census
from queuectl.errors import QueuectlError
from queuectl.picture import Row, View, Worker
from queuectl.sight import Sight
from queuectl.spool import Spool

#: Seconds between two looks, and times as long as a look took that the next one waits.
REST, SHARE = 1.0, 10

#: Seconds after which somebody who has done something sees it.
HURRY = census.REST + 0.05


class LookoutDied(QueuectlError):
    """The process that looks at the spool is gone."""


class Lookout:
    """Our end of the child. `view` is the newest, None before the first."""

    def __init__(self, spool: Spool) -> None:
        self._socket, theirs = socket.socketpair()
        self._data = b""
        self.view: View | None = None
        self.pid = os.fork()
        if not self.pid:
            self._socket.close()
            _Child(spool, theirs).run()
        theirs.close()
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """What becomes readable when a view comes."""
        return self._socket.fileno()

    def receive(self) -> None:
        """Take what has come, and keep the newest view."""
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            raise LookoutDied(
                f"the process that looks at the spool (pid {self.pid}) has died; start 'queuectl top' again"
            )
        *lines, self._data = (self._data + data).split(b"\n")
        if lines:
            self.view = _view(json.loads(lines[-1]), self.view)

    def ask(self, wanted: str) -> None:
        """Look soon, for jobs whose id or name contains this."""
        with contextlib.suppress(OSError):
            self._socket.send(json.dumps(wanted).encode() + b"\n")

    def close(self) -> None:
        """End the child; one that a file server holds ends when that comes back."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, os.WNOHANG)


def _view(record: dict[str, Any], last: View | None) -> View:
    if record.get("trouble") and last:
        return last._replace(trouble=record["trouble"])
    rows, workers = (
        [kind(*values) for values in record[key]]
        for kind, key in ((Row, "rows"), (Worker, "workers"))
    )
    return View(**{**record, "rows": rows, "workers": workers})


class _Child:
    """The child's own end."""

    def __init__(self, spool: Spool, line: socket.socket) -> None:
        self._line, self._spool, self._data = line, spool, b""
        self._sight = Sight(spool)

    def run(self) -> NoReturn:
        """Look until the other end is gone. The process ends here."""
        try:
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):  # the terminal is not ours
                os.dup2(null, fd)
            gc.freeze()
            while True:
                self._look()
        except ConnectionError:
            pass
        finally:
            os._exit(0)

    def _look(self) -> None:
        self._say()
        if self._counted():
            self._say()
        self._rest(max(REST, SHARE * self._sight.cost))

    def _counted(self) -> bool:
        try:
            return self._sight.count()
        except OSError:
            return False  # the look that follows says why

    def _say(self) -> None:
        try:
            view = self._sight.look()
        except (QueuectlError, OSError) as error:
            view = View(self._spool.path, time.time(), {}, trouble=" ".join(str(error).split()))
        self._line.sendall(json.dumps(view._asdict()).encode() + b"\n")

    def _rest(self, seconds: float) -> None:
        """Wait for the next look, shorter if somebody asks for it."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self._line], [], [], left)[0]:
                until = min(until, time.monotonic() + self._listen())

    def _listen(self) -> float:
        """Take what is asked for: seconds until the next look."""
        data = self._line.recv(65536)
        if not data:
            raise ConnectionResetError
        *lines, self._data = (self._data + data).split(b"\n")
        wanted = [json.loads(line) for line in lines]
        before = self._sight.wanted
        if wanted:
            self._sight.want(wanted[-1])
        return HURRY if self._sight.wanted == before else 0.0
