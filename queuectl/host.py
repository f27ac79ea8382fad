"""Who we are: this host, its boot and this process, as others must know us.

A process id means something only on one boot of one kernel in one pid namespace;
`place` names all three, so that two containers with one host name are two places.

Leaves to others
    whether somebody else is alive (liveness).
Raises
    nothing.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import time
from typing import NamedTuple

#: The types of file systems that one host alone uses, as the system names them. Whatever is not
#: here may be a cluster's or a network's. Stacked types (ecryptfs, aufs, fuse) are not here: they
#: can stand on a network. An overlay cannot.
LOCAL = (
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "reiser4",
    "nilfs2", "ufs", "minix", "ubifs", "jffs2", "tmpfs", "ramfs", "rootfs", "devtmpfs", "overlay",
    "vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "hfs", "hfsplus", "udf", "apfs",
)  # fmt: skip


class Place(NamedTuple):
    """Where a process id is valid. `boot` is the running kernel's id, `space` its pid namespace."""

    host: str
    boot: str
    space: str

    def __str__(self) -> str:
        return f"{self.host}~{self.boot[:8]}~{self.space}"


@functools.cache
def place() -> Place:
    """The place of this process."""
    plain = "".join(
        c if c.isascii() and (c.isalnum() or c == ".") else "-" for c in os.uname().nodename
    )
    host = plain.strip(".-")[:40] or "localhost"
    return Place(host, _boot(), _space())


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return _darwin_boot() if sys.platform == "darwin" else ""


def _darwin_boot() -> str:
    import ctypes

    text, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    failed = ctypes.CDLL(None).sysctlbyname(
        b"kern.bootsessionuuid", text, ctypes.byref(size), None, ctypes.c_size_t(0)
    )
    return "" if failed else text.value.decode("ascii").lower()


def _space() -> str:
    try:
        return "".join(c for c in os.readlink("/proc/self/ns/pid") if c in "0123456789")
    except OSError:
        return "0"


#: Zones that each machine understands in its own way, or that only some machines have.
_PRIVATE_ZONES = ("localtime", "posixrules", "Factory")
_PRIVATE_ZONE_TREES = ("posix/", "right/")


def is_private_zone(name: str) -> bool:
    """Whether other hosts may have no time zone of this name, or another one."""
    return name in _PRIVATE_ZONES or name.startswith(_PRIVATE_ZONE_TREES)


def zone() -> str | None:
    """The name of the time zone of this process, such as "Europe/Berlin"; None if it has none that others would know."""
    import zoneinfo

    named = os.environ.get("TZ", "/etc/localtime").removeprefix(":")
    if not named or (named == "/etc/localtime" and not os.path.lexists(named)):
        return "UTC"  # as the C library has it
    name = os.path.realpath(named).partition("/zoneinfo/")[2] if named.startswith("/") else named
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return None if is_private_zone(name) else name


def is_shared(path: str, setting: str = "auto") -> bool:
    """Whether other hosts may use the file system of `path`: yes or no, as the setting says; else by its type.

    On one that no other host uses, another boot is a boot that is over.
    """
    return setting == "yes" if setting != "auto" else mount(path).kind not in LOCAL


def booted_at() -> float:
    """When this kernel began to run, by the clock of now."""
    return time.time() - time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def has_watches() -> bool:
    """Whether this user may have another inotify instance; True where there is no inotify."""
    if sys.platform != "linux":
        return True
    import ctypes

    fd = ctypes.CDLL(None).inotify_init1(os.O_CLOEXEC)
    if fd >= 0:
        os.close(fd)
    return bool(fd >= 0)


def user(uid: int) -> str:
    """The name of a user, or the number of one without a name."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def groups(uid: int) -> list[int]:
    """The groups that a user is in; none for a user without a name."""
    import pwd

    try:
        who = pwd.getpwuid(uid)
    except KeyError:
        return []
    return os.getgrouplist(who.pw_name, who.pw_gid)


def nonce() -> str:
    """Six characters that make a name unique to its incarnation."""
    return os.urandom(3).hex()


def is_running(pid: int) -> bool:
    """Whether this place has a process `pid`, ours or not; one that has ended and waits for its parent does not run."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return sys.platform != "linux"


class Mount(NamedTuple):
    """A mounted file system: its type, such as "ext4" or "nfs4", and its options; "" where they cannot be known."""

    kind: str
    options: frozenset[str]


_UNKNOWN = Mount("", frozenset())


def mount(path: str) -> Mount:
    """The mount that holds `path`, or will hold it."""
    try:
        return _mount(path, os.stat(path).st_dev)
    except FileNotFoundError:
        above = os.path.dirname(path)
        return mount(above) if above != path else _UNKNOWN
    except OSError:
        return _UNKNOWN


@functools.lru_cache(maxsize=16)
def _mount(path: str, device: int) -> Mount:
    if sys.platform == "darwin":
        return Mount(_darwin_kind(path), frozenset())
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        found = [line.split() for line in lines]
    wanted = f"{os.major(device)}:{os.minor(device)}"
    if not any(words[2] == wanted for words in found):
        wanted = _mount_id(path)  # a subvolume of btrfs has a device of its own
    for words in reversed(found):
        if wanted in (words[0], words[2]):
            dash = words.index("-")
            return Mount(words[dash + 1], frozenset([*words[5].split(","), *words[-1].split(",")]))
    return _UNKNOWN


def _mount_id(path: str) -> str:
    """The number by which mountinfo knows the mount of `path`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
            return next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")
    finally:
        os.close(fd)


def _darwin_kind(path: str) -> str:
    import ctypes

    library, status = ctypes.CDLL(None), ctypes.create_string_buffer(4096)
    statfs = getattr(library, "statfs$INODE64", None) or library.statfs
    failed = statfs(os.fsencode(path), status)
    return "" if failed else status.raw[72:88].split(b"\0")[0].decode("ascii")  # f_fstypename


def server_lease(path: str) -> float | None:
    """Seconds after which the NFSv4 server of `path` lets go of what a silent client has open; None where that is not known."""
    point = os.path.realpath(path)
    while not os.path.ismount(point):
        point = os.path.dirname(point)
    try:
        with open("/proc/self/mountstats", encoding="utf-8", errors="surrogateescape") as file:
            return _lease_at(point, file.read())
    except OSError:
        return None


def _lease_at(point: str, stats: str) -> float | None:
    """The lease that the kernel's statistics of mounts have for the one at `point`."""
    _, found, rest = stats.rpartition(
        f" mounted on {point.replace(' ', chr(92) + '040')} with fstype nfs4"
    )
    lease = re.search(r"\blease_time=(\d+)", rest.split("\ndevice ")[0]) if found else None
    return float(lease[1]) if lease else None
