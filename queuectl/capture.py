"""Captures: the files that a command's output goes into, nameless until that matters.

Most commands print nothing, and making and removing two files for each costs more than
all the rest of a claim. So a capture has no name at first (O_TMPFILE) and gets it when
the command has printed something by its end, or still runs after a while, so that it
can be followed. One that stayed empty, and that no process can write to any more (the
kernel says so: a lease for reading is granted), serves the next run.

Promises
    No run writes into a file that an earlier run, or what it left behind, may still write to.
    An empty capture leaves no file, a full one is under its name when `end` has returned.
    Where the file system knows no nameless files, a capture has its name from the start.
Leaves to others
    which names (spool), when to show it and to end it (attempt, executor).
Raises
    OSError with the path when the disk refuses. `end` may then be called again.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress

from queuectl import disk

#: What a file system says that has no nameless files, or a system without /proc.
_CANNOT = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS)

_NAMELESS = getattr(os, "O_TMPFILE", 0)


class Capture:
    """The captures of one stream, one run after the other, in `directory`."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._reader: int | None = None
        self._is_named = False
        self._path = ""
        self._can_hide = bool(_NAMELESS)

    def begin(self, path: str) -> int:
        """A new descriptor for the command to append to; the caller closes it. `path` is the capture's name, should it need one."""
        if os.access(path, os.F_OK):
            disk.unlink(path)  # of an earlier attempt of this number
        self._path, self._is_named = path, False
        if self._reader is None and self._can_hide:
            self._reader = self._hidden()
        if self._reader is not None:
            return os.open(f"/proc/self/fd/{self._reader}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        writer = disk.create(path)
        try:
            self._reader, self._is_named = os.open(path, os.O_RDONLY | os.O_CLOEXEC), True
        except OSError:
            os.close(writer)
            disk.unlink(path)
            raise
        return writer

    def _hidden(self) -> int | None:
        """A nameless file, open for reading only: who reads does not keep a lease from being granted."""
        try:
            fd = os.open(self._directory, _NAMELESS | os.O_RDWR | os.O_CLOEXEC, disk.FILE_MODE)
        except OSError as error:
            if error.errno not in _CANNOT or not disk.is_there(self._directory):
                raise
            self._can_hide = False
            return None
        try:
            return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._can_hide = False  # no /proc here
            return None
        finally:
            os.close(fd)

    def size(self) -> int:
        """Bytes printed so far."""
        return os.fstat(self._reader).st_size if self._reader is not None else 0

    def show(self) -> None:
        """Give the capture its name."""
        if self._reader is not None and not self._is_named:
            disk.give_name(self._reader, self._path)
            self._is_named = True

    def end(self, tail: int) -> bytes:
        """The run is over: the last `tail` bytes that were printed."""
        if self._reader is None:
            return b""
        size = self.size()
        if not size and not self._is_named and self._is_ours():
            return b""
        if size:
            self._keep()
        elif self._is_named:
            disk.unlink(self._path)
        data = os.pread(self._reader, tail, max(0, size - tail)) if size else b""
        self.close()
        return data

    def _keep(self) -> None:
        try:
            self.show()
        except OSError as error:
            if error.errno != errno.EXDEV or self._reader is None:
                raise
            # Somebody has put logs/ on another file system since the capture was made.
            disk.unlink(self._path)
            disk.copy(self._reader, self._path)

    def _is_ours(self) -> bool:
        """Whether nobody has the capture open for writing."""
        try:
            fcntl.fcntl(self._reader or 0, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(self._reader or 0, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the file; what has no name vanishes."""
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(OSError):
                os.close(reader)
