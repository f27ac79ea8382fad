"""The disk: the only room that changes it, one small function for each thing we ask of it.

Every call goes through `os` and `libc` as this module sees them, so a test can put a liar or a
killer in their place and cover every other room at once.

Promises
    rename answers True if the file is at its target, False if somebody else took the
    source, and raises for anything else, whatever the first error said.
    write and append return when the bytes have been handed over whole; sync when they
    would survive a power cut.
    read never blocks, never follows a link and never reads more than it was told.
Leaves to others
    which name goes where (spool); when to sync (spool, supervisor).
Raises
    OSError with the path; NotPlain for what is no plain file.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import stat
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from queuectl import libc

#: The mode of every file and directory of ours: nobody else's business.
FILE_MODE, DIRECTORY_MODE = 0o600, 0o700

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
_CREATE = os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL
_APPEND = os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW


class NotPlain(OSError):
    """The path is a FIFO, a socket, a link, a directory, a device, or larger than allowed."""


class Content(NamedTuple):
    """A file's bytes, and what fstat said when they were read."""

    data: bytes
    status: os.stat_result

    @property
    def mark(self) -> str:
        """A text that changes with the file."""
        return f"{self.status.st_ino}.{self.status.st_size}.{self.status.st_mtime_ns}.{self.status.st_nlink}"


def read(path: str, most: int) -> Content:
    """The whole plain file at `path`, of at most `most` bytes."""
    try:
        # O_NONBLOCK: a FIFO without a writer would hang us for ever.
        fd = os.open(path, _READ)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise NotPlain(errno.ELOOP, "is a symbolic link", path) from None
        if error.errno in (errno.ENXIO, errno.EOPNOTSUPP):
            raise NotPlain(error.errno, "is a socket or a device", path) from None
        raise
    try:
        status = os.fstat(fd)
        size = status.st_size
        if status.st_mode & 0o170000 != 0o100000:
            raise NotPlain(errno.EINVAL, "is not a plain file", path)
        if size > most:
            raise NotPlain(errno.EFBIG, f"has {size} bytes; the limit is {most}", path)
        # No more than there is: a buffer for all that is allowed can be larger than the memory.
        data = os.read(fd, size + 1)
        if len(data) < size:  # it comes in pieces
            data += _all(fd, size + 1 - len(data))
        if len(data) > size:  # it has grown meanwhile
            data += _all(fd, most + 1 - len(data))
            if len(data) > most:
                raise NotPlain(errno.EFBIG, f"has more than {most} bytes, which is the limit", path)
        return Content(data, status)
    finally:
        os.close(fd)


def _all(fd: int, most: int) -> bytes:
    data = os.read(fd, most)
    while 0 < len(data) < most:
        more = os.read(fd, most - len(data))
        if not more:
            break
        data += more
    return data


def read_tail(path: str, most: int) -> bytes:
    """The last `most` bytes of the file at `path`; empty if there is none."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return b""
    try:
        size = os.fstat(fd).st_size
        return os.pread(fd, min(most, size), max(0, size - most)) if size else b""
    finally:
        os.close(fd)


def write(path: str, data: bytes, begin: bool = False, *, durable: bool = True) -> None:
    """A new file at `path` that holds `data`; if that fails there is none.

    With `begin` it is not durable, but on its way: a `sync` that comes when many are costs a fraction.
    """
    fd = open_new(path, _CREATE)
    try:
        try:
            put(fd, data)
            if begin and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            elif durable and not begin:
                _flush(fd)
        finally:
            os.close(fd)
    except BaseException as error:
        # A failed fsync is a failed write: the kernel may have dropped the pages.
        unlink(path)
        if isinstance(error, OSError):
            error.filename = path
        raise


@contextmanager
def naming(path: str) -> Iterator[None]:
    """An error inside says which file it is about; calls on a descriptor do not know."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or path
        raise


def append(
    path: str, line: bytes, *, closing: bytes = b"\n", lasting: bool = False, first: bool = False
) -> bool:
    """Add one line to the file at `path`, whole: a torn end that a crash left is closed first.

    With `lasting` it survives a power cut. False, only then: somebody took the file away meanwhile.
    `first`: there is probably no such file yet, which saves a look at its end.
    """
    fd = -1
    if first:
        try:
            fd = create(path)
        except FileExistsError:
            pass  # `suppress` would be two calls more on the way of every job
    is_new = fd >= 0
    if not is_new:
        fd = open_new(path, _APPEND)
    try:
        size = 0 if is_new else os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = closing + line
        put(fd, line)
        if lasting:
            _flush(fd)
        return not lasting or is_open_at(fd, path)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def open_new(path: str, flags: int) -> int:
    """The file at `path`, made for its owner alone unless it is there and the flags allow that; the descriptor.

    What root makes in somebody's directory becomes theirs: they could not even read it else.
    """
    keeper = (
        None if os.geteuid() else _holder(path.rpartition("/")[0])
    )  # as _keeper: this is on the way of every job
    if keeper is None:
        return os.open(path, flags, FILE_MODE)
    try:
        fd = os.open(path, flags | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(
            path, flags
        )  # stays whosever it is: they may have linked something of ours there
    _give_away(fd, keeper)
    return fd


def _keeper(path: str) -> tuple[int, int] | None:
    """To which user and group root must give what it makes at `path`; None: it stays ours."""
    return None if os.geteuid() else _holder(path.rpartition("/")[0])


@functools.cache
def _holder(directory: str) -> tuple[int, int] | None:
    status = os.stat(directory or ".")
    return (status.st_uid, status.st_gid) if status.st_uid else None


def _give_away(fd: int, keeper: tuple[int, int]) -> None:
    with suppress(PermissionError):  # a file server that makes nobody of root: the doctor tells
        os.fchown(fd, *keeper)


def put(fd: int, data: bytes) -> None:
    """Write all of `data` to a file that is open."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def open_end(path: str) -> int:
    """The file at `path`, open for appending, made if there is none; a torn end that a crash left is closed."""
    fd = open_new(path, _APPEND)
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        put(fd, b"\n")
    return fd


def sync(path: str) -> None:
    """Make the file or directory at `path` survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _flush(fd)
    except OSError as error:  # as `naming`, without two calls more for each enqueue
        error.filename = path
        raise
    finally:
        os.close(fd)


def _flush(fd: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync alone stops at the drive's cache there
    else:
        os.fsync(fd)


def sync_all(path: str) -> None:
    """Make everything that was written to the file system of `path` survive a power cut."""
    if sys.platform != "linux":
        os.sync()
        return
    fd = os.open(path, _DIRECTORY)
    try:
        with naming(path):
            libc.syncfs(fd)
    finally:
        os.close(fd)


def rename(source: str, target: str) -> bool:
    """Move a file to a name that only this mover uses. False: somebody else moved the source first."""
    try:
        os.rename(source, target)
    except OSError as error:
        # RACE: a lost race says ENOENT. But so does a network file system that did our
        # rename and lost the answer; the target is ours alone, so it knows.
        if is_there(target):
            return True
        if error.errno == errno.ENOENT and not is_there(source):
            return False
        raise
    return True


def rename_new(source: str, target: str) -> bool:
    """Move a file to a name that others may use, too, but never over theirs. False: the name is taken."""
    try:
        libc.renameat2(source, target, libc.NOREPLACE)
    except FileExistsError:
        return False
    return True


def exchange(one: str, other: str) -> None:
    """Let two directories take each other's name, at once."""
    libc.renameat2(one, other, libc.EXCHANGE)


def replace(source: str, target: str) -> None:
    """Put a new version of a file of settings in the place of the old one; jobs are never replaced."""
    try:
        os.replace(source, target)
    except OSError:
        unlink(source)
        raise


def is_there(path: str) -> bool:
    """Whether something has this name, asked by opening: stat may answer from a cache on a network."""
    try:
        os.close(os.open(path, _READ))
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ESTALE, errno.EIO, errno.ETIMEDOUT):
            raise
    return True


def link(source: str, target: str) -> bool:
    """Give the file a second name. False: the name is taken by another file."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        return is_same(source, target)  # ours already: an answer was lost
    return True


def point(path: str, text: str) -> bool:
    """A symbolic link at `path` that says `text`, at once and whole. False: the name is taken."""
    try:
        os.symlink(text, path)
    except FileExistsError:
        return pointed(path) == text  # ours already: an answer was lost
    return True


def pointed(path: str) -> str | None:
    """What the symbolic link at `path` says; None if there is none."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return ""  # somebody put something else there


def is_same(one: str, other: str) -> bool:
    """Whether two names mean one file."""
    try:
        first, second = os.lstat(one), os.lstat(other)
    except FileNotFoundError:
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def is_equal(one: str, other: str) -> bool:
    """Whether two plain files hold the same bytes. False as well if one of them is gone."""
    most = size(one)
    if most != size(other):
        return False
    try:
        return read(one, most).data == read(other, most).data
    except (FileNotFoundError, NotPlain):
        return False


def links(path: str) -> int:
    """How many names the file at `path` has; 0 if there is no such file."""
    try:
        return os.lstat(path).st_nlink
    except FileNotFoundError:
        return 0


def unlink(path: str) -> bool:
    """Remove a file. False: it was gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def make(path: str) -> bool:
    """A directory at `path`, if there is none: whether it was made; whose it becomes is as with `open_new`."""
    is_new = _make(path)
    if is_new and (keeper := _keeper(path)):
        fd = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
        try:
            if not os.listdir(fd):  # they may have put another of ours in its place
                _give_away(fd, keeper)
        finally:
            os.close(fd)
    return is_new


def _make(path: str) -> bool:
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return False
    return True


def make_all(path: str) -> None:
    """A directory at `path`, and those above it; only the last is private, and belongs to us."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except RecursionError:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path) from None
    _make(path)


def remove(path: str) -> bool:
    """Remove an empty directory. False: it is gone or has something in it."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def scan(path: str, *, directories: bool = False) -> Iterator[str]:
    """The names in the directory at `path`, or only those of directories, as they come; none if it is not there."""
    try:
        entries = os.scandir(path)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if not directories or entry.is_dir(follow_symlinks=False):
                yield entry.name


def touch(path: str) -> bool:
    """Set the file's time to now by the file server's clock. False: it is gone."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def modified(path: str) -> float | None:
    """When the file at `path` was last modified, asked by opening; None if it is not there."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError:
        return os.lstat(path).st_mtime  # a link, a socket, or not for us to read
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)


def changed(path: str) -> float:
    """When the file at `path` was last written or given another name, whichever is later; 0 if it is not there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0.0
    return max(status.st_mtime, status.st_ctime)


def open_plain(path: str) -> int:
    """The plain file at `path`, open for reading: no link, and nothing that could block."""
    fd = os.open(path, _READ)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotPlain(errno.EINVAL, "is no plain file", path)
    return fd


def mode(path: str) -> int | None:
    """The permission bits of `path`; None if it is not there."""
    try:
        return os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        return None


def owner(path: str) -> int:
    """The user id of the owner of `path`."""
    return os.stat(path).st_uid


def is_open_to(path: str, user: int, groups: Collection[int]) -> bool:
    """Whether the permission bits let a user enter the directory `path`; access lists are not asked."""
    place = os.path.realpath(path)
    while _may_enter(os.stat(place), user, groups):
        if place == "/":
            return True
        place = os.path.dirname(place)
    return False


def _may_enter(status: os.stat_result, user: int, groups: Collection[int]) -> bool:
    if status.st_uid == user:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid in groups else 0o001))


def close_to_others(path: str) -> None:
    """Leave `path` to its owner alone."""
    os.chmod(path, os.stat(path).st_mode & 0o700)


def group(path: str) -> int:
    """The group id of `path`."""
    return os.stat(path).st_gid


def share(path: str, group: int, mode: int) -> None:
    """Give `path` to a group, with these permissions."""
    os.chown(path, -1, group)
    os.chmod(path, mode)


def size(path: str) -> int:
    """Bytes of a file, or of a directory's list of names; 0 if it is not there."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def room(path: str) -> tuple[int, int]:
    """Bytes that are free for us on the disk of `path`, and all its bytes."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def identity(path: str | int) -> tuple[int, int, int] | None:
    """What tells a directory, at a path or open, from all others while it is open; None if it is not there."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino, status.st_uid


def open_directory(path: str) -> int:
    """The directory at `path`, open: as long as it is, no other has its identity."""
    return os.open(path, _DIRECTORY)


def version(path: str) -> tuple[int, int, int] | None:
    """What changes whenever the file at `path` is replaced or written; None if it is not there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def create(path: str) -> int:
    """A new, empty file at `path`, open for reading and for appending."""
    return open_new(path, _APPEND | os.O_EXCL)


def be_there(path: str) -> None:
    """An empty file at `path`, if there is none."""
    os.close(open_new(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW))


def open_log(path: str) -> int:
    """The file at `path`, made if there is none, open for appending to it."""
    return open_new(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)


def is_open_at(fd: int, path: str) -> bool:
    """Whether the file behind a descriptor is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def hold(path: str) -> int:
    """Create and lock the file at `path` for as long as this process lives; the descriptor that holds it."""
    fd = open_new(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW)
    fcntl.flock(
        fd, fcntl.LOCK_EX
    )  # the name is ours alone: at most somebody is just asking whether it is held
    return fd


def keep_open(path: str) -> int:
    """Open the file at `path` for writing; the descriptor, to be kept for as long as nobody else may cache the file."""
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)


def is_held(path: str) -> bool | None:
    """Whether a living process holds the file at `path`; None if there is no such file."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    try:
        # Shared: two who ask at once must not take each other for the holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return True
    finally:
        os.close(fd)
    return False
