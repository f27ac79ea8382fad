"""The life of a worker process: it enrols, hears signals, works, and leaves.

Promises
    A disk that is full keeps it waiting, and it says so once.
    It has no terminal. Ctrl+C is for its supervisor to understand.
Leaves to others
    the work (worker); forking it and its death (supervisor, crew).
Raises
    what no job should do to a worker (worker).
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from queuectl import disk, libc, liveness, signals
from queuectl.crew import SIGNALS
from queuectl.log import Log
from queuectl.signals import Listener
from queuectl.spool import Spool
from queuectl.wire import Line
from queuectl.worker import PATIENCE, Worker


def live(spool: Spool, supervisor: str, line: Line, log: Log) -> None:
    """The life of a worker process that was just forked, with SIGNALS blocked, from `supervisor`."""
    enrolled = _enroll(spool, supervisor, log)
    if enrolled is None:
        return
    record, _lock = enrolled
    if spool.is_shared:
        # NFSv4 lends files that are only read: a heartbeat would wait for a reader that is dead until its lease is over.
        disk.keep_open(spool.at("workers", record.worker + ".json"))
    os.setsid()  # no terminal, neither for us nor for the commands; and one session costs less than one for each command
    with suppress(OSError):  # elsewhere than on Linux, orphans are found by their environment
        libc.adopt_orphans()
    listener = Listener()
    worker = Worker(spool, record, line, log, listener)
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGQUIT, worker.stop)
    signal.signal(signal.SIGUSR1, worker.cancel)
    # What they mean is for the supervisor to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, [number for number in SIGNALS if number not in listener.kept]
    )
    spool.complain = lambda _: None  # the supervisor says it for all
    line.put_off("hello", record.worker)  # it goes with the first wish
    worker.run()
    liveness.dismiss(spool, record.worker)


def _enroll(spool: Spool, supervisor: str, log: Log) -> tuple[liveness.Record, int] | None:
    """Become a worker of the spool, however long its disk is full; None: told to stop before that, or the supervisor is gone."""
    boss, told = os.getppid(), False
    while os.getppid() == boss:
        try:
            return liveness.enroll(spool, supervisor, boss)
        except OSError as error:
            if not told:
                log.event(
                    "stuck",
                    pid=os.getpid(),
                    reason=f"cannot become a worker: {error}; trying again until it works",
                )
                told = True
        if signals.await_blocked((signal.SIGTERM, signal.SIGQUIT), PATIENCE):
            return None
    return None
