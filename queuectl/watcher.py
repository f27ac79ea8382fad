"""The watch: a child process that rings when something comes into pending/ or inbox/.

watchdog needs threads, and a supervisor that forks must have none; so its observer
lives in a child behind two pipes. One byte asks it to arm, one byte answers: armed,
rang, or deaf (the system has no watch left for us). Its death is the end of the pipe.

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

import os
import signal

#: What the child says.
ARMED, RANG, DEAF = b"a", b"r", b"d"


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
        if RANG in said or DEAF in said:
            self.asked = False
        return said or None

    def close(self) -> None:
        """Let the child end: it sees the end of its pipe."""
        os.close(self.reader)
        os.close(self._writer)


def start(directories: list[str], forget: list[int]) -> Watch:
    """Start a watch on the first of `directories`, and on those of the others that are there.

    The child closes the descriptors in `forget`.
    """
    here_reads, there_writes = os.pipe()
    there_reads, here_writes = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        for fd in (here_reads, here_writes, there_reads, there_writes):
            os.close(fd)
        raise
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
    observer = Observer()
    observer.start()

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
            bell = Bell()
            for directory in directories:
                if directory == directories[0] or os.path.isdir(directory):
                    observer.schedule(bell, directory, event_filter=wanted)
            os.write(writer, ARMED)
        except OSError:
            # No inotify watch left, or the directory is gone: the supervisor's own looks go on.
            observer.unschedule_all()
            os.write(writer, DEAF)
