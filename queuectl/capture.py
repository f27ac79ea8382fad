"""Captures: the files that a command's output goes into, nameless until that matters.

Most commands print nothing, and making and removing two files for each costs more than
all the rest of a claim. So a capture has no name at first (O_TMPFILE) and gets it when
the command has printed something by its end, or still runs after a while, so that it
can be followed. One that stayed empty, and that no process can write to any more (the
kernel says so: a lease for reading is granted), serves the next run.

Promises
    No run writes into a file that an earlier run, or what it left behind, may still write to, or has changed otherwise.
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
import stat
from contextlib import suppress

from queuectl import disk
from queuectl.executor import Action

#: What a file system says that has no nameless files, or a system without /proc.
_CANNOT = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS)

_NAMELESS = getattr(os, "O_TMPFILE", 0)

#: The mode of a capture that its command has left alone: a plain file, for its owner.
_UNTOUCHED = stat.S_IFREG | disk.FILE_MODE


class Capture:
    """The captures of one stream of commands, their descriptor `fd`, one run after the other, in `directory`."""

    def __init__(self, directory: str, fd: int) -> None:
        self._directory, self._fd = directory, fd
        self._reader: int | None = None
        self._again: Action = ()  # what opens the same file once more
        self._is_named = self._is_void = False
        self._path = ""
        self._can_hide = bool(_NAMELESS)
        self._owner = os.geteuid()

    def begin(self, path: str) -> Action:
        """What gives the command a descriptor to append to. `path` is the capture's name, should it need one."""
        self._path, self._is_named = path, False
        if self._reader is None and self._can_hide:
            self._reader = self._hidden()
            if self._reader is not None:
                # The child opens it: what it inherits would be open for writing in us as well.
                self._again = (
                    os.POSIX_SPAWN_OPEN,
                    self._fd,
                    _again(self._reader),
                    os.O_WRONLY | os.O_APPEND,
                    0,
                )
        if self._reader is None:
            self._reader, self._is_named = _named(path), True
            return (os.POSIX_SPAWN_DUP2, self._reader, self._fd)
        if os.access(path, os.F_OK):
            disk.unlink(path)  # of an earlier attempt of this number
        return self._again

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
        data, reader = b"", self._reader
        if reader is not None:
            status = os.fstat(reader)
            size = status.st_size
            # A command may close its output to us, open it to all, or link it to a name: that is nothing for the next one.
            if (
                not (size or self._is_named or status.st_nlink)
                and status.st_mode == _UNTOUCHED
                and status.st_uid == self._owner
            ):
                try:
                    # Nobody has it open for writing.
                    fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                    fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                    return b""
                except OSError:
                    pass  # what the command has left behind may still print into it
            if size:
                self._keep()
                data = os.pread(reader, tail, max(0, size - tail))
            self._is_void = self._is_named and not size
            self.close()
        if self._is_void:
            # After the close: a network file system gives what is open a new name instead of removing it, and has to ask for one.
            disk.unlink(self._path)
            self._is_void = False
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

    def close(self) -> None:
        """Let go of the file; what has no name vanishes."""
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(OSError):
                os.close(reader)


def _again(fd: int) -> str:
    """The path by which a child of ours opens the file behind our descriptor `fd` once more."""
    # Our own directory in /proc is looked up quickest, but for a child it is shut where nobody may debug us. Its name is not our
    # process id where /proc is that of another namespace.
    ours = f"/proc/{os.readlink('/proc/self')}/fd"
    return f"{ours}/{fd}" if os.stat(ours).st_uid == os.geteuid() else f"/proc/self/fd/{fd}"


def _named(path: str) -> int:
    """A new file at `path`. On a network each look and each open is a call: so none looks first, and one open is for both of us."""
    try:
        return disk.create(path)
    except FileExistsError:
        disk.unlink(path)  # of an earlier attempt of this number
        return disk.create(path)
