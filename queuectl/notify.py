"""The notifier: tells systemd how its service is, by datagrams to the socket that it named in our environment.

READY=1 when all workers are up, STOPPING=1 at the beginning of the end, STATUS= for `systemctl status`,
and WATCHDOG=1 twice in each WatchdogSec: a supervisor whose loop hangs is ended by systemd and started anew.

Promises
    Whoever is started by this process sees none of it: the variables are taken out of the environment.
    Without such a socket nothing happens; a systemd that does not listen holds nobody up.
Leaves to others
    when (chores, supervisor); the unit (service).
Raises
    nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import MutableMapping

#: The variables that systemd sets for one process and its children must not see.
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

#: Beats in the time after which systemd takes a service for hung.
BEATS = 2


class Notifier:
    """Speaks to the socket that `environ` names, which is taken out of it."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        path, usec, pid = (environ.pop(name, "") for name in VARIABLES)
        self._address = (
            "\0" + path[1:] if path.startswith("@") else path if path.startswith("/") else ""
        )
        ours = usec.isdigit() and pid in ("", str(os.getpid()))
        self._interval = (
            int(usec) / 1_000_000 / BEATS if self._address and ours and int(usec) else math.inf
        )
        self._beaten = -math.inf
        self._said: set[str] = set()
        self._status = ""

    def ready(self) -> None:
        """All workers are up; said once."""
        self._once("READY=1")

    def stopping(self) -> None:
        """The end has begun; said once."""
        self._once("STOPPING=1")

    def status(self, line: str) -> None:
        """How things are, in a line for people."""
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def beat(self) -> None:
        """Say that the loop goes round, if it is time to."""
        now = time.monotonic()
        if now >= self.wakes_at():
            self._beaten = now
            self._send("WATCHDOG=1")

    def wakes_at(self) -> float:
        """When `beat` has something to say, by the monotonic clock; never, if nobody watches."""
        return self._beaten + self._interval if self._interval < math.inf else math.inf

    def _once(self, state: str) -> None:
        if state not in self._said:
            self._said.add(state)
            self._send(state)

    def _send(self, state: str) -> None:
        if not self._address:
            return
        import socket  # most supervisors have no service manager

        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(os.fsencode(state), self._address)
