"""The heart of a consumer: a Python program's place among the workers, and the thread that beats for it.

Others see a worker: its lock, its record, its directory. Its record names no supervisor:
nobody signals it, it looks for requests itself.

Promises
    It beats while the program works, however long that takes; a forked child of the program
    neither beats, nor keeps the worker alive, nor ends its jobs.
    What was noted reaches the disk within a second.
    Who finishes gives back what it still holds; also at the end of the interpreter.
Leaves to others
    which jobs (consumer); who is alive (liveness); what becomes of what is still held (recovery).
Raises
    OSError when it cannot become a worker; after that it complains.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from queuectl import disk, liveness, recovery
from queuectl.errors import complaint
from queuectl.spool import Spool

#: Seconds between two syncs while outcomes come in.
FLUSH = 0.5

_beating: weakref.WeakSet[Heart] = weakref.WeakSet()


class Heart:
    """A worker of the spool for as long as it beats. `is_lost`: others took it for dead; `is_stopped`: somebody asked it to stop."""

    def __init__(self, spool: Spool, warn: Callable[[str], None]) -> None:
        self._spool, self._warn = spool, warn
        self.record, self._lock = liveness.enroll(spool, "", os.getpid())
        self.worker = self.record.worker
        # NFSv4 lends files that are only read: a heartbeat would wait for a reader that is dead.
        self._kept = (
            disk.keep_open(spool.at("workers", self.worker + ".json")) if spool.is_shared else None
        )
        self.is_ours, self.is_lost, self.is_stopped = True, False, False
        self._is_over = self._noted = False
        self._bell = threading.Event()
        _beating.add(self)
        threading.Thread(target=self._beat_on, name=f"queuectl {self.worker}", daemon=True).start()

    # -- the thread

    def _beat_on(self) -> None:
        beaten = synced = time.monotonic()
        while not self._is_over:
            interval = self._interval()
            due = min(beaten + interval, synced + FLUSH) if self._noted else beaten + interval
            self._bell.wait(max(0.0, due - time.monotonic()))
            self._bell.clear()
            now = time.monotonic()
            if now - beaten >= interval and not self._is_over:
                beaten = now
                self._do(self._beat)
            if self._noted and now - synced >= FLUSH and not self._is_over:
                self._do(self._flush)
                synced = time.monotonic()

    def _interval(self) -> float:
        try:
            return self._spool.settings().heartbeat_interval
        except Exception:  # whatever it is
            return 1.0  # damaged settings stop the consumer, not its heart

    def _do(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # whatever it is, the heart beats on
            self._warn(
                f"worker {self.worker} cannot say that it is alive, or make its outcomes durable: {complaint(error)}"
            )

    def _beat(self) -> None:
        if not liveness.beat(self._spool, self.worker) and not self._is_over:
            self.is_lost = True
        self.look()

    def _flush(self) -> None:
        self._noted = False
        try:
            disk.sync_all(self._spool.path)
        except OSError:
            self._noted = True
            raise

    # -- for the consumer

    def look(self) -> None:
        """Look whether somebody has asked this worker to stop."""
        self.is_stopped = (
            self.is_stopped or liveness.is_asked_to_stop(self._spool, self.worker) is not None
        )

    def note(self) -> None:
        """Something happened that must survive a power cut."""
        if not self._noted:
            self._noted = True
            self._bell.set()

    def finish(self) -> None:
        """Give back what is still held, and be a worker no more."""
        if self._is_over or not self.is_ours:
            return
        self._is_over = True
        self._bell.set()
        _beating.discard(self)
        try:
            recovery.move_on(self._spool, self.worker, died=False)
            disk.unlink(self._spool.at("workers", self.worker + liveness.STOP))
            if self._noted:
                disk.sync_all(self._spool.path)
            liveness.dismiss(self._spool, self.worker)
        except OSError as error:
            # CRASH: what stays is a dead worker's, and its rescue moves it on.
            self._warn(
                f"worker {self.worker} could not leave tidily: {error}; the next rescue clears up"
            )
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        for fd in (self._lock, self._kept):
            if fd is not None:
                with suppress(OSError):
                    os.close(fd)

    def disown(self) -> None:
        """This process is a forked child: the worker is its parent, and lives and dies with that."""
        self.is_ours = False
        self._hang_up()


def _finish_all() -> None:
    for heart in list(_beating):
        heart.finish()


def _disown_all() -> None:
    for heart in list(_beating):
        heart.disown()
    _beating.clear()


atexit.register(_finish_all)
os.register_at_fork(after_in_child=_disown_all)
