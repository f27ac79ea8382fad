"""The lab: up to three guests on a network of their own; a serves NFS from its own disk, b and c are its clients.

In every guest this machine's own / is at /mnt/host, read-only, so that it runs this very checkout (see `python`); the lab's
directory is at /mnt/lab and can be written to. b and c have the NFS mount at /mnt/nfs, which is a's /srv/disk.

Promises
    Nothing stays mounted, running or on disk after it, also when the driver is killed (the reaper sees to it).
Leaves to others
    commands and clocks (guest), what a guest does first (guest_init), what is prepared once (setup.sh).
Raises
    GuestFailed if a guest does not come up; CalledProcessError if this machine's network refuses.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.hosts.guest import Answer, Guest

#: Where setup.sh prepared it.
HOME = Path(os.environ.get("LAB_HOME") or Path(os.environ.get("TMPDIR") or "/tmp") / "queuectl-lab")

#: The checkout that the guests run.
CHECKOUT = Path(__file__).resolve().parents[2]

#: The guests: addresses on a bridge that no other network sees. (Cards keep theirs, too: else a server that comes back is
#: a stranger to its clients for as long as they remember its old card.)
ADDRESSES = {"a": "10.99.0.1", "b": "10.99.0.2", "c": "10.99.0.3"}
CARDS = {"a": "52:54:00:99:00:01", "b": "52:54:00:99:00:02", "c": "52:54:00:99:00:03"}

#: Bytes of memory that must be free for keeping the guests' disks there.
ROOM = 2 << 30

#: Where a guest has its own disk; where a client has the server's.
DISK, SHARE = "/srv/disk", "/mnt/nfs"

#: Starts the NFS server; {options} are those of its export. Leases and graces are short: a server that was cut is back at once.
SERVE = """set -e
modprobe nfsd; modprobe lockd; mount -t nfsd nfsd /proc/fs/nfsd
mount -t rpc_pipefs pipes /run/rpc_pipefs || true
rpcbind -w || rpcbind; rpc.statd; nfsdcld || true
echo 1 > /proc/sys/fs/nfs/nlm_grace_period
exportfs -i -o {options} '*:{disk}'
echo 10 > /proc/fs/nfsd/nfsv4leasetime; echo 10 > /proc/fs/nfsd/nfsv4gracetime
rpc.nfsd 4; rpc.mountd
echo Y > /proc/fs/nfsd/v4_end_grace || true
"""


def obstacle() -> str | None:
    """Why there can be no lab here; None if it looks as if there could."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the lab needs Linux on x86_64"
    if os.geteuid() != 0:
        return "the lab needs root (for a network namespace and its taps)"
    if not os.path.exists("/dev/net/tun"):
        return "the lab needs /dev/net/tun"
    if not (HOME / "ready").exists():
        return f"the lab is not prepared in {HOME}: run bash tests/hosts/setup.sh"
    if " " in f"{HOME}{CHECKOUT}":
        return "the lab cannot be where a path has a space: the kernel's command line"
    missing = [tool for tool in ("ip", "mke2fs") if not shutil.which(tool)]
    return f"the lab needs {' and '.join(missing)}" if missing else None


def python(*, ahead: str = "") -> str:
    """The words with which a guest's shell runs its Python on this checkout; `ahead` is a folder that comes first."""
    folders = [*([ahead] if ahead else []), f"/mnt/host{CHECKOUT}", f"/mnt/host{HOME}/packages"]
    return f"env PYTHONPATH={':'.join(folders)} python3"


@dataclass
class Lab:
    """Guests by their names. `export` and `mount` are NFS options; without `nfs` the guests have only their disks."""

    names: str = "abc"
    nfs: bool = True
    export: str = "rw,sync,no_root_squash,no_subtree_check,fsid=0"
    mount: str = "vers=4.2"
    megabytes: int = 512
    memory: str = "192M"
    guests: dict[str, Guest] = field(default_factory=dict)

    def __enter__(self) -> Self:
        memory = "/dev/shm"
        is_roomy = os.path.isdir(memory) and shutil.disk_usage(memory).free > ROOM
        self.directory = Path(
            tempfile.mkdtemp(prefix="queuectl-lab-", dir=memory if is_roomy else HOME)
        )
        self.directory.chmod(0o755)
        self._namespace = f"queuectl-lab-{os.getpid()}-{self.directory.name[-8:]}"
        reaper = [
            sys.executable,
            str(Path(__file__).with_name("reaper.py")),
            self._namespace,
            str(self.directory),
        ]
        self._reaper = subprocess.Popen(reaper, stdin=subprocess.PIPE, start_new_session=True)
        try:
            self._connect()
            for name in self.names:
                self._start(name)
            for name in self.names:
                self._settle(name)
            if self.nfs:
                self.serve()
                for name in self.names.replace("a", ""):
                    self.join(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for guest in self.guests.values():
            guest.kill()
        self._reaper.communicate()  # the end of its input is what it waits for

    @property
    def a(self) -> Guest:
        """The server."""
        return self.guests["a"]

    @property
    def b(self) -> Guest:
        """One client."""
        return self.guests["b"]

    @property
    def c(self) -> Guest:
        """The other client."""
        return self.guests["c"]

    # -- machines

    def boot(self, name: str) -> Guest:
        """Start a guest again, on the disk as it was left; its disk is mounted."""
        self.guests[name].kill()
        self._start(name)
        return self._settle(name)

    def _start(self, name: str) -> None:
        ours, variables = self.directory / "uml", f"lab_name={name} lab_address={ADDRESSES[name]}"
        ours.mkdir(exist_ok=True)
        words = [
            "ip",
            "netns",
            "exec",
            self._namespace,
            str(HOME / "linux"),
            f"mem={self.memory}",
            "quiet",
            "con=null",
            "con0=fd:0,fd:1",
        ]
        words += [
            "root=/dev/root",
            "rootfstype=hostfs",
            f"rootflags={HOME}/rootfs",
            "ro",
            "init=/first",
        ]
        words += [f"uml_dir={ours}/", f"umid={name}", f"ubd0={self._disk(name)}"]
        words += [f"vec0:transport=tap,ifname=tap-{name},mac={CARDS[name]},depth=128,gro=1"]
        words += [
            *variables.split(),
            f"lab_shared={self.directory}",
            f"lab_init={Path(__file__).with_name('guest_init.py')}",
        ]
        # The kernel keeps the guest's memory in an unlinked file, which is quicker where files are in memory.
        where = {"TMPDIR": "/dev/shm"} if os.path.isdir("/dev/shm") else {}
        environment = {
            **os.environ,
            **where,
            "LD_PRELOAD": str(HOME / "umlshim.so"),
            "LAB_RUN": str(self.directory),
        }
        self.guests[name] = Guest(name, words, environment, self.directory / f"{name}.log")

    def _settle(self, name: str) -> Guest:
        guest = self.guests[name]
        guest.booted()
        guest.set_skew()
        guest.run(f"mkdir {DISK} && mount /dev/ubda {DISK}")
        return guest

    def _disk(self, name: str) -> Path:
        path = self.directory / f"{name}.img"
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(self.megabytes << 20)
            subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-i", "4096", path], check=True)
        return path

    def both(self, command: str, timeout: float = 300, names: str = "bc") -> dict[str, Answer]:
        """Run a command in several guests at once; @ME@ in it is the name of each."""
        pending = {
            name: self.guests[name].start(command.replace("@ME@", name), timeout) for name in names
        }
        return {name: waiting.join() for name, waiting in pending.items()}

    # -- NFS

    def serve(self) -> None:
        """Make a the NFS server; again after each of its boots."""
        self.a.run(f"chmod 1777 {DISK}")
        self.a.run(SERVE.format(options=self.export, disk=DISK), timeout=60)

    def join(self, name: str, options: str = "") -> None:
        """Mount the server's disk in a client."""
        options = options or self.mount
        is_old = "vers=3" in options
        if is_old:
            self.guests[name].run("pidof rpcbind || rpcbind; pidof rpc.statd || rpc.statd")
        source = f"{ADDRESSES['a']}:{DISK if is_old else '/'}"
        self.guests[name].run(
            f"mkdir -p {SHARE} && mount -t nfs -o {options} {source} {SHARE}", timeout=90
        )

    def restart(self) -> None:
        """Cut the server's power and start it again, on the disk as it was left."""
        self.a.kill()
        self.boot("a")
        self.serve()

    def bring_back(self, name: str) -> None:
        """Start a client again whose power was cut."""
        self.boot(name)
        self.join(name)

    def squash(self, *, on: bool) -> None:
        """Make root of the clients nobody on the share, or root again."""
        self.a.run(
            f"exportfs -i -o {self.export.replace('no_root_squash', 'root_squash') if on else self.export} '*:{DISK}' && exportfs -f"
        )

    @property
    def truth(self) -> tuple[Guest, str]:
        """A guest whose view of the share is no cache's, and where the share is there."""
        return self.a, DISK

    # -- network

    def _connect(self) -> None:
        subprocess.run(["ip", "netns", "add", self._namespace], check=True)
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", "bridge", "type", "bridge")
        self._ip("link", "set", "bridge", "up")
        for name in self.names:
            self._ip("tuntap", "add", f"tap-{name}", "mode", "tap")
            self._ip("link", "set", f"tap-{name}", "up")
            self.heal(name)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", "-n", self._namespace, *words], check=True)

    def cut(self, name: str) -> None:
        """Take a guest off the network. (Its tap leaves the bridge: a tap that is set down would never come up again.)"""
        self._ip("link", "set", f"tap-{name}", "nomaster")

    def heal(self, name: str) -> None:
        """Put a guest on the network again."""
        self._ip("link", "set", f"tap-{name}", "master", "bridge")
