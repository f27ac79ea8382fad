"""The other lab: three hosts in namespaces of this machine that hold a replicated GlusterFS volume; b and c mount it, too.

It has the face of `Lab`, so that every scenario can be played in it. A host has its own processes, network, name, boot id and
system files; its power is cut by ending all of its processes at once. What is different from machines:

- The kernel is this one: a power cut loses nothing that was written.
- A clock that is wrong is so for what is started after the first `set_skew` (clockshim). That is also the mount, which is made
  anew then: on GlusterFS the times of files are those of the client.

Promises
    Nothing stays mounted, running or on disk after it, also when the driver is killed (the reaper sees to it).
Leaves to others
    what is prepared once (`setup.sh gluster`).
Raises
    GuestFailed if a host or the volume does not come up; CalledProcessError if this machine's network refuses.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Self

from tests.hosts.guest import DIED, SLACK, Answer, GuestFailed, Pending
from tests.hosts.guest_init import ENVIRONMENT
from tests.hosts.lab import CHECKOUT, HOME, SHARE
from tests.hosts.load import LOG
from tests.support import until

#: The hosts: addresses on a bridge that no other network sees.
ADDRESSES = {"a": "10.98.0.1", "b": "10.98.0.2", "c": "10.98.0.3"}

#: The volume's options. A brick that goes without a word stops everybody for the time of the ping, 42 s by default: that must be
#: well below the 0.6 of the lease after which a supervisor gives up. With ctime the times of files are the clients'.
OPTIONS = {"network.ping-timeout": "2", "features.ctime": "off"}

#: Makes a host of a new set of namespaces; {place} is its directory. It ends as a sleeper, whose death ends the host.
HOST = """set -e
mount -t overlay overlay -o lowerdir={home}/rootfs-gluster,upperdir={place}/up,workdir={place}/work {place}/root
cd {place}/root
mkdir -p brick .{share} mnt/lab mnt/host{checkout} mnt/host{home}/packages
touch mnt/host{home}/{shim}; mount --bind {home}/{shim} mnt/host{home}/{shim}
mount --bind {place}/brick brick; mount --bind {lab} mnt/lab
mount --bind {checkout} mnt/host{checkout}; mount --bind {home}/packages mnt/host{home}/packages
mount -t proc proc proc; mount --rbind /sys sys; mount --rbind /dev dev; mount -t tmpfs memory dev/shm
mount -t tmpfs memory run; mkdir run/gluster; rm -rf tmp; mkdir -m 1777 tmp
echo {boot} > run/boot_id; mount --bind run/boot_id proc/sys/kernel/random/boot_id
hostname {name}; exec sleep infinity
"""

#: What gives a program another clock; the file that says how wrong it is is read again all the time.
SHIM, CLOCK = "clockshim.so", "/run/clock"


def obstacle() -> str | None:
    """Why there can be no GlusterFS here; None if it looks as if there could."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the lab needs root on Linux (for namespaces and mounts)"
    if not os.path.exists("/dev/fuse"):
        return "the lab needs /dev/fuse"
    if not (HOME / "ready-gluster").exists():
        return f"GlusterFS is not prepared in {HOME}: run bash tests/hosts/setup.sh gluster"
    missing = [tool for tool in ("ip", "unshare", "nsenter") if not shutil.which(tool)]
    return f"the lab needs {' and '.join(missing)}" if missing else None


class Host:
    """A host with the face of a `Guest`; `directory` is the lab's."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self._directory, self._place = name, directory, directory / name
        for part in ("up", "work", "root", "brick"):
            (self._place / part).mkdir(parents=True, exist_ok=True)
        self._boot = str(uuid.uuid4())
        words = {
            "place": self._place,
            "home": HOME,
            "checkout": CHECKOUT,
            "lab": directory,
            "share": SHARE,
            "boot": self._boot,
            "shim": SHIM,
        }
        flags = ["-m", "-n", "-u", "-i", "-p", "-f", "--kill-child", "--propagation", "private"]
        self._clock: dict[str, str] = {}
        self._lines: list[list[str]] = [[] for _ in range(LOG + 1)]
        self._offsets = [0] * len(self._lines)
        for number in range(len(self._lines)):
            path = self._report(number)
            path.touch()
            path.chmod(0o666)
        with (directory / f"{name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", *flags, "sh", "-c", HOST.format(name=name, **words)],
                env={**os.environ, "LAB_RUN": str(directory)},
                stderr=log,
                start_new_session=True,
            )
        self.init = until(self._sleeper)

    def _sleeper(self) -> int:
        if self.process.poll() is not None:
            raise GuestFailed(
                f"{self.name} did not start: {(self._directory / f'{self.name}.log').read_text()[-2000:]}"
            )
        children = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        )
        asleep = [pid for pid in children if os.readlink(f"/proc/{pid}/exe").endswith("/sleep")]
        return int(asleep[0]) if asleep else 0

    # -- commands

    def start(self, command: str, timeout: float = 300) -> Pending:
        """Start a shell command."""
        spaces = ["nsenter", "-t", str(self.init), "-n", "-m", "-u", "-i", "-p"]
        variables = {
            **ENVIRONMENT,
            "LAB_NAME": self.name,
            "LAB_RUN": str(self._directory),
            **self._clock,
        }
        words = [
            "env",
            "-i",
            *(f"{name}={value}" for name, value in variables.items()),
            "/bin/sh",
            "-c",
            command,
        ]
        pending = Pending(timeout + SLACK)
        process = subprocess.Popen(
            [*spaces, "chroot", self._place / "root", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(target=self._wait, args=(process, pending, timeout), daemon=True).start()
        return pending

    def _wait(self, process: subprocess.Popen[bytes], pending: Pending, timeout: float) -> None:
        begun = time.monotonic()
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
        died = self.process.poll() is not None
        pending.settle(
            DIED
            if died
            else Answer(process.returncode, out.decode(errors="replace"), time.monotonic() - begun)
        )

    def run(self, command: str, timeout: float = 300) -> str:
        """Run a shell command that must succeed: what it printed."""
        answer = self.start(command, timeout).join()
        if answer.code:
            raise GuestFailed(f"{self.name}: {command!r}: exit {answer.code}\n{answer.out}")
        return answer.out

    def kill(self) -> None:
        """End everything that runs there."""
        try:
            os.kill(self.init, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    # -- what its programs report

    def _report(self, number: int) -> Path:
        return self._directory / f"{self.name}-{self._boot[:8]}.line{number}"

    def line(self, number: int) -> str:
        """Where its programs write what they report on line `number`."""
        return f"/mnt/lab/{self._report(number).name}"

    def forget(self) -> None:
        """Forget what was reported: something new begins."""
        for number, lines in enumerate(self._lines):
            self._offsets[number] = self._report(number).stat().st_size
            lines.clear()

    @property
    def reports(self) -> list[list[str]]:
        """What was reported, by line."""
        for number, lines in enumerate(self._lines):
            with self._report(number).open("rb") as file:
                file.seek(self._offsets[number])
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[number] += len(whole)
            lines.extend(whole.decode(errors="replace").splitlines())
        return self._lines

    # -- its clock

    def set_skew(self, seconds: float = 0.0) -> float:
        """Put its clock ahead of ours by so much."""
        self.run(f"echo {seconds:.0f} > {CLOCK}")
        if not self._clock:
            self._clock = {"LD_PRELOAD": f"/mnt/host{HOME}/{SHIM}"}
            mount(self)
        return seconds


def mount(host: Host) -> None:
    """Mount the volume on a host, once more if it is; on the one that is no client so that it sees everything as it is."""
    options = "-o attribute-timeout=0,entry-timeout=0,no-root-squash=on" if host.name == "a" else ""
    # By its helper: mount itself takes LD_PRELOAD away.
    command = (
        f"mount.glusterfs {ADDRESSES[host.name]}:/spools {SHARE} {options} && mountpoint -q {SHARE}"
    )
    host.run(f"umount {SHARE} 2> /dev/null; {command}", timeout=120)


class Gluster:
    """Hosts by their names: all three hold the volume, b and c are its clients."""

    def __init__(self) -> None:
        self.guests: dict[str, Host] = {}

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="queuectl-gluster-", dir=HOME))
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
            subprocess.run(["ip", "netns", "add", self._namespace], check=True)
            self._ip("link", "add", "bridge", "type", "bridge")
            self._ip("link", "set", "bridge", "up")
            for name in ADDRESSES:
                self._start(name)
            self._make()
            for host in self.guests.values():
                mount(host)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.guests.values():
            host.kill()
        self._reaper.communicate()  # the end of its input is what it waits for

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", "-n", self._namespace, *words], check=True)

    # -- hosts

    def _start(self, name: str) -> None:
        host = self.guests[name] = Host(name, self.directory)
        self._ip(
            "link",
            "add",
            f"to-{name}",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            str(host.init),
        )
        self._ip("link", "set", f"to-{name}", "up")
        host.run(
            f"ip link set lo up; ip addr add {ADDRESSES[name]}/24 dev eth0; ip link set eth0 up"
        )
        self.heal(name)
        host.run("glusterd")
        until(lambda: host.start("gluster volume list").join().code == 0, 120)

    def _make(self) -> None:
        a = self.a
        for name in "bc":
            a.run(f"gluster peer probe {ADDRESSES[name]}")
        self._gather()
        bricks = " ".join(f"{address}:/brick/data" for address in ADDRESSES.values())
        a.run(f"gluster --mode=script volume create spools replica 3 {bricks} force")
        for option, value in OPTIONS.items():
            a.run(f"gluster --mode=script volume set spools {option} {value}")
        a.run("gluster volume start spools")
        self._online()

    def _gather(self) -> None:
        """Wait until all hosts know each other."""
        until(
            lambda: (
                self.a.start("gluster peer status").join().out.count("Peer in Cluster (Connected)")
                == 2
            ),
            120,
        )

    def _online(self) -> None:
        """Wait until every brick is served."""
        until(
            lambda: (
                self.a.start("gluster volume status spools detail").join().out.count(": Y") == 3
            ),
            120,
        )

    @property
    def a(self) -> Host:
        """The host that is no client."""
        return self.guests["a"]

    def restart(self) -> None:
        """Cut the power of the host that is no client, and start it again."""
        self.bring_back("a")

    def bring_back(self, name: str) -> None:
        """Start a host again whose power was cut."""
        self.guests[name].kill()
        shutil.rmtree(self.directory / name / "work")
        self._start(name)
        self._gather()
        self._online()
        mount(self.guests[name])

    # -- network

    def cut(self, name: str) -> None:
        """Take a host off the network."""
        self._ip("link", "set", f"to-{name}", "nomaster")

    def heal(self, name: str) -> None:
        """Put a host on the network again."""
        self._ip("link", "set", f"to-{name}", "master", "bridge")

    # -- the volume

    def squash(self, *, on: bool) -> None:
        """Make root of the clients nobody on the volume, or root again."""
        self.a.run(f"chmod 1777 {SHARE}")
        self.a.run(
            f"gluster --mode=script volume set spools server.root-squash {'on' if on else 'off'}"
        )

    @property
    def truth(self) -> tuple[Host, str]:
        """A host whose view of the share is no cache's, and where the share is there."""
        return self.a, SHARE
