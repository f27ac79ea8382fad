"""The guard: a process that ends a supervisor, its workers and their commands when the spool does not answer any more.

On a network file system that is mounted hard a call blocks for as long as the server is away, also the heartbeat.
Other hosts then take the workers for dead and run their jobs, while the commands here go on. So a child that
touches no file waits for word of each heartbeat, and acts when none comes for most of the lease.

Promises
    It does nothing while it hears of heartbeats, and ends with its supervisor.
Leaves to others
    heartbeats, and how long is too long (pulse).
Raises
    OSError when there is no process left.
"""

from __future__ import annotations

import os
import select
import signal
from typing import NoReturn

from queuectl import processes, signals
from queuectl.log import Log

#: The variable that says whose a command is.
VARIABLE = "QUEUECTL_SUPERVISOR"

#: Seconds that commands have between TERM and KILL.
GRACE = 2.0


class Guard:
    """Guards the supervisor `name`, this process, from now on: `beat` must be called again before `patience` seconds are over."""

    def __init__(self, name: str, patience: float, log: Log) -> None:
        reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        os.environ[VARIABLE] = name  # workers are forked after this, so commands have it
        boss = os.getpid()
        with signals.deaf():  # until it ignores them: Ctrl+C reaches the whole group
            self.pid = os.fork()
            if not self.pid:
                self._live(reader, patience, boss, name, log)
        os.close(reader)

    def _live(self, reader: int, patience: float, boss: int, name: str, log: Log) -> NoReturn:
        """The life of the guard, in the process that was just forked for it."""
        code = 1
        try:
            os.close(self.writer)
            for number in signals.STOPS:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.STOPS)
            signal.set_wakeup_fd(-1)
            if _is_silent(reader, patience):
                end(boss, name)
                log.event(
                    "warning",
                    reason="the spool did not answer for most of the lease: ended the commands and all workers",
                )
            code = 0
        finally:
            os._exit(code)

    def beat(self, patience: float) -> None:
        """There was a heartbeat; the next must come within `patience` seconds."""
        try:
            os.write(self.writer, f"{patience}\n".encode())
        except (BlockingIOError, BrokenPipeError):
            pass  # it has not read the last ones yet, or somebody has killed it

    def finish(self) -> None:
        """Let the guard go, and wait until it has."""
        os.close(self.writer)
        os.waitpid(self.pid, 0)


def _is_silent(reader: int, patience: float) -> bool:
    """Wait until no word comes for too long, or, False, until the supervisor is gone."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(patience * 1000):
        said = os.read(reader, 4096)
        if not said:
            return False
        patience = float(said.split()[-1])
    return True


def end(boss: int, name: str) -> None:
    """End a supervisor, its children but this process, and all commands that carry its name."""
    children = [pid for pid in processes.children(boss) if pid != os.getpid()]
    for pid in (boss, *children):
        processes.kill(pid)
    processes.end_each(lambda: processes.carrying({f"{VARIABLE}={name}".encode()}), GRACE)
