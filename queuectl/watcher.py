"""The watch: a child process that rings when something comes into pending/ or inbox/.

watchdog needs threads, and a supervisor that forks must have none; so its observer
lives in a child behind two pipes. One byte asks it to arm, one byte answers: armed,
rang, deaf (the system has no watch left for us) or lost (there is no such directory). Its death is the end of the pipe.

The watch is off while jobs are being claimed: a rename out of a watched directory
holds back every later event by half a second. So it turns itself off before it rings,
and the supervisor arms it when nothing is about to leave pending/.

Promises
    What comes in after "armed" rings, unless the system drops events.
Leaves to others
    the truth: a bell is a hint, the scan in the supervisor decides, also without any bell.
Raises
    nothing.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from queuectl import disk

#: Seconds of rest after which a watch is started: it costs as much as a hundred jobs, and a queue that is nearly empty is soon done.
REST = 0.1

#: Seconds between two starts of a watch that dies.
REWATCH = 10.0

#: Seconds between two tries to arm a watch that the system refuses.
REARM = 2.0

#: What the child says.
ARMED, RANG, DEAF, LOST = b"a", b"r", b"d", b"l"


class Watch:
    """The supervisor's end: the child, and what it was last heard to say."""

    def __init__(self, pid: int, reader: int, writer: int) -> None:
        self.pid = pid
        self.reader, self._writer = reader, writer
        self.asked = False

    def arm(self) -> None:
        """Ask for a bell; the answer comes through `heard`."""
        if not self.asked:
            self.asked = True
            try:
                os.write(self._writer, ARMED)
            except BrokenPipeError:
                pass  # `heard` will see its death

    def heard(self) -> bytes | None:
        """What the child said since; None: it is dead."""
        said = os.read(self.reader, 64)
        if said.strip(ARMED):
            self.asked = False
        return said or None

    def close(self) -> None:
        """Let the child end: it sees the end of its pipe."""
        os.close(self.reader)
        os.close(self._writer)


class Sentry:
    """A watch that is started when we come to rest and again when it dies, and left alone for a while when the system refuses it."""

    def __init__(self, directories: list[str], warn: Callable[[str], None]) -> None:
        self._directories, self._warn = directories, warn
        self._watch: Watch | None = None
        self._rewatch = self._rearm = 0.0
        self._rests_since: float | None = None
        self._is_told = False
        #: Which directories the watch was asked to watch.
        self._watched: list[object] = []

    @property
    def reader(self) -> int | None:
        """What becomes readable when there is something to hear; None: there is no watch now."""
        return self._watch.reader if self._watch else None

    def arm(self, forget: Callable[[], list[int]]) -> None:
        """Ask for a bell. Whoever never rests for a while needs no watch, so it starts here; there what is in `forget` is closed."""
        now = time.monotonic()
        if self._rests_since is None:
            self._rests_since = now
        if self._watch and self._watch.asked and self._watched != self._present():
            self._leave()
        if self._watch is None and now >= self._starts_at(self._rests_since):
            self._rewatch = now + REWATCH
            self._watch = start(self._directories, forget())
        if self._watch and not self._watch.asked and now >= self._rearm:
            self._watched = self._present()
            self._watch.arm()

    def _present(self) -> list[object]:
        """Which directories are there now."""
        return [disk.identity(path) for path in self._directories]

    def _leave(self) -> None:
        """Drop a watch on directories that have other names by now; the next one starts at once."""
        for path, old, new in zip(self._directories, self._watched, self._present(), strict=True):
            if old and new and old != new:
                self._warn(f"{path} is another directory than before; watching this one")
        self.drop()
        self._rewatch = 0.0

    def stand_down(self) -> None:
        """There is work: no bell is wanted."""
        self._rests_since = None

    def _starts_at(self, rests_since: float) -> float:
        return max(rests_since + REST, self._rewatch)

    def wakes_at(self) -> float | None:
        """When a watch can be started, by the monotonic clock; None: none is wanted, or there is one."""
        return (
            self._starts_at(self._rests_since)
            if self._watch is None and self._rests_since is not None
            else None
        )

    def hear(self) -> bool:
        """Listen to the watch: whether it rang. A dead one is dropped."""
        said = self._watch.heard() if self._watch else None
        if said is None:
            self.drop()
            return False
        if DEAF in said and not self._is_told:
            self._is_told = True
            self._warn(
                "the system has no watch left for pending/; new jobs are found by looking every poll_interval"
            )
        if DEAF in said or LOST in said:
            self._rearm = time.monotonic() + REARM
        return RANG in said

    def ended(self, pid: int) -> bool:
        """Take note that a child has ended: whether it was the watch."""
        ours = self._watch is not None and pid == self._watch.pid
        if ours:
            self.drop()
        return ours

    def drop(self) -> int | None:
        """Let the watch end: its process id, if there was one."""
        watch, self._watch = self._watch, None
        if watch is None:
            return None
        watch.close()
        return watch.pid

    def finish(self) -> None:
        """End the watch, and wait until it has."""
        pid = self.drop()
        if pid is not None:
            os.waitpid(pid, 0)


def start(directories: list[str], forget: list[int]) -> Watch:
    """Start a watch on the first of `directories`, and on those of the others that are there.

    The child closes the descriptors in `forget`.
    """
    ends: list[int] = []
    try:
        ends += os.pipe()
        ends += os.pipe()
        pid = os.fork()
    except OSError:
        for fd in ends:
            os.close(fd)
        raise
    here_reads, there_writes, there_reads, here_writes = ends
    if pid:
        os.close(there_writes)
        os.close(there_reads)
        return Watch(pid, here_reads, here_writes)
    try:
        for fd in (here_reads, here_writes, *forget):
            os.close(fd)
        _serve(directories, there_reads, there_writes)
    finally:
        os._exit(0)


def _serve(directories: list[str], reader: int, writer: int) -> None:
    """The child's life: arm when asked, until the supervisor is gone."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    import logging

    from watchdog import events
    from watchdog.observers import Observer

    logging.disable()  # our log has lines of one form only
    # A removal counts, too: that of pending/ itself must be noticed.
    wanted = [
        events.FileCreatedEvent,
        events.FileClosedEvent,
        events.FileMovedEvent,
        events.FileDeletedEvent,
        events.DirDeletedEvent,
    ]
    observer: Any = None

    class Bell(events.FileSystemEventHandler):
        """Turns the watch off, then rings: only then may the supervisor ask for a new one."""

        rung = False

        def on_any_event(self, _: events.FileSystemEvent) -> None:
            if not self.rung:
                self.rung = True
                observer.unschedule_all()
                os.write(writer, RANG)

    while os.read(reader, 64):
        try:
            if observer is None:
                starting = Observer()
                starting.start()
                observer = starting
            bell = Bell()
            for directory in directories:
                if directory == directories[0] or os.path.isdir(directory):
                    observer.schedule(bell, directory, event_filter=wanted)
            os.write(writer, ARMED)
        except OSError as error:
            # No inotify instance or watch left, or the directory is gone: the supervisor's own looks go on.
            if observer is not None:
                observer.unschedule_all()
            os.write(writer, LOST if error.errno == errno.ENOENT else DEAF)
