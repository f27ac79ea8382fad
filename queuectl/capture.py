"""Output of commands: it comes through pipes, and the worker appends it to log files.

A command may open its own stdout again, as `echo x > /dev/stdout` does. A file behind stdout
would lose what was printed before; a pipe loses nothing. A log is made when its first byte
comes, so a command that prints nothing costs no file.

Promises
    All that was printed is in the log, in order, when `finish` has returned.
    A background process that outlives its command goes on printing into the same log.
    A disk without room stops no command: it costs output, and `loss` tells how much.
    Output leaves the last part of a disk (RESERVE) to records.
Leaves to others
    when to look for output (executor), the names of logs (spool), what a run says of it (attempt).
Raises
    OSError from begin: no descriptor is left, or the log of an earlier run cannot be removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
from collections.abc import Mapping
from contextlib import suppress

from queuectl import disk, executor

#: Bytes that are read from a pipe at a time: what a pipe holds by default.
CHUNK = 65536

#: Reads after the end of a command. Pipes hold less; more comes from what it left behind.
MOST_READS = 32

#: Bytes of a disk that output leaves to records; on a small disk, this share of it.
RESERVE, RESERVE_SHARE = 16 * 1024 * 1024, 32

#: The most bytes of output between two looks at the room that is left.
ROOM_STEP = 1024 * 1024


class Stream:
    """One pipe: where its output goes in this run, and what came of it.

    `targets` are the descriptors that a command has it as.
    """

    def __init__(self, *targets: int) -> None:
        self.targets = targets
        self.log = self.reader = self.writer = -1
        self.path: str | None = None
        self.budget = 0
        self.tail = b""
        self.lost, self.why = 0, ""

    def begin(self, path: str | None) -> None:
        """Make a pipe whose output goes into the file `path`; None: nowhere."""
        self.path, self.tail, self.lost, self.why = path, b"", 0, ""
        if path is not None and os.access(path, os.F_OK):
            disk.unlink(path)  # of an earlier attempt of this number
        self.reader, self.writer = os.pipe()

    def write(self, data: bytes) -> None:
        """Append to the log. The first error ends that: a log with a gap would mislead."""
        if self.path is None or not data:
            return
        if not self.why:
            try:
                self._append(self.path, data)
            except OSError as error:
                self.why = f"{error.strerror or error}: {self.path}"
        if self.why:
            self.lost += len(data)

    def _append(self, path: str, data: bytes) -> None:
        self.open(path)
        self.budget -= len(data)
        if self.budget < 0:
            self.budget = min(ROOM_STEP, check_room(path) // 2)
        disk.put(self.log, data)

    def open(self, path: str) -> None:
        """Make the log, if that has not been done."""
        if self.log < 0:
            try:
                self.log = _new(path)
            except FileNotFoundError:
                disk.make(os.path.dirname(path))  # somebody removed logs/
                self.log = _new(path)
            self.budget = 0

    def carry_on(self, left: int | None, env: Mapping[bytes, bytes]) -> None:
        """Let a process of its own move what a background process of the run still prints.

        At most `left` bytes, unless that is None. It carries `env`, so it belongs to the run.
        """
        if self.path is None or self.why:
            return
        self.open(self.path)
        words = ("cat",) if left is None else ("head", "-c", str(left))
        files = [
            (os.POSIX_SPAWN_DUP2, self.reader, 0),
            (os.POSIX_SPAWN_DUP2, self.log, 1),
            # The worker's own may be a pipe that somebody reads to its end.
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        os.posix_spawnp(words[0], words, {b"PATH": os.defpath.encode(), **env}, file_actions=files)

    def close(self) -> None:
        """Let go of what is open."""
        for fd in (self.reader, self.writer, self.log):
            if fd >= 0:
                with suppress(OSError):
                    os.close(fd)
        self.reader = self.writer = self.log = -1


class Capture:
    """The output of one run after another, by `streams`."""

    def __init__(self, *streams: Stream) -> None:
        self._streams = streams
        self._tail = self._limit = self.printed = 0
        self._poll = select.poll()

    def begin(self, paths: tuple[str | None, ...], tail: int, limit: int) -> None:
        """Make the pipes of a run, and keep the last `tail` bytes of each.

        `limit`: the bytes that logs may take in all; 0 is no limit.
        """
        self._tail, self._limit, self.printed = tail, limit, 0
        for stream, path in zip(self._streams, paths, strict=True):
            stream.begin(path)

    def actions(self) -> list[executor.Action]:
        """What gives a command its ends of the pipes."""
        return [
            (os.POSIX_SPAWN_DUP2, stream.writer, target)
            for stream in self._streams
            for target in stream.targets
        ]

    def started(self) -> None:
        """The command has its ends: close ours, so that the end of its last process is seen."""
        self._poll = select.poll()
        for stream in self._streams:
            os.close(stream.writer)
            stream.writer = -1
            self._poll.register(stream.reader, select.POLLIN)

    def ring(self) -> None:
        """Let the kernel send SIGIO to this process whenever output comes."""
        for stream in self._streams:
            if stream.reader >= 0:
                fcntl.fcntl(stream.reader, fcntl.F_SETOWN, os.getpid())
                fcntl.fcntl(stream.reader, fcntl.F_SETFL, os.O_ASYNC)

    def drain(self) -> int:
        """Move what has come into the logs, once for each stream; the number of bytes."""
        before = self.printed
        events = dict(self._poll.poll(0))
        for stream in self._streams if events else ():
            event = events.get(stream.reader, 0)
            if event & select.POLLIN:
                self._take(stream)
            elif event:  # no process has it open for writing
                self._poll.unregister(stream.reader)
                os.close(stream.reader)
                stream.reader = -1
        return self.printed - before

    def _take(self, stream: Stream) -> None:
        data = os.read(stream.reader, CHUNK)
        left = self._left()
        self.printed += len(data)
        if self._tail:
            stream.tail = (stream.tail + data)[-self._tail :]
        stream.write(data if left is None else data[:left])

    def _left(self) -> int | None:
        return max(0, self._limit - self.printed) if self._limit else None

    def is_over(self) -> bool:
        """Whether more was printed than the limit allows."""
        return 0 < self._limit < self.printed

    def finish(self, env: Mapping[bytes, bytes]) -> None:
        """The command has ended, or was not started: move what is left.

        `env` is its environment.
        """
        if any(stream.writer >= 0 for stream in self._streams):
            self.drop()
            return
        for _ in range(MOST_READS):
            if not self.drain():
                break
        for stream in self._streams:
            if stream.reader >= 0 or stream.log >= 0:
                if stream.reader >= 0:
                    with suppress(OSError):  # without it they get SIGPIPE
                        stream.carry_on(self._left(), env)
                stream.close()

    def drop(self) -> None:
        """No command was started: close the pipes."""
        for stream in self._streams:
            stream.close()

    def tails(self) -> list[bytes]:
        """The last bytes of each stream."""
        return [stream.tail for stream in self._streams]

    def loss(self) -> tuple[int, str]:
        """The number of bytes that could not be kept, and the reason."""
        lost = sum(stream.lost for stream in self._streams)
        return lost, next((stream.why for stream in self._streams if stream.why), "")


def _new(path: str) -> int:
    try:
        return disk.create(path)
    except FileExistsError:
        disk.unlink(path)  # of an earlier attempt of this number
        return disk.create(path)


def check_room(path: str) -> int:
    """Bytes that output may take on the disk of `path`. Refuse, as a full disk does, if none."""
    free, size = disk.room(os.path.dirname(path))
    left = free - min(RESERVE, size // RESERVE_SHARE)
    if left < 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    return left
