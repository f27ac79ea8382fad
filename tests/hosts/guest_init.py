"""The first program of a guest: makes a system of it, then runs the commands that the driver sends over the console.

It runs alone in there, on the guest's own Python, with nothing of ours to import.
A request is a line of base64 that holds {"id", "do", ...}, an answer "@@LAB " and such a line: so neither can be
taken for what the kernel says on the same console.

Promises
    Every request is answered once, however its command ends; several run at a time.
Leaves to others
    what is asked for, and what it means (guest).
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]

#: What the kernel's command line says of us, which it hands to its first program as variables.
NAME, ADDRESS, SHARED = (
    os.environ.get(f"lab_{what}", "") for what in ("name", "address", "shared")
)

#: What every command sees.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LAB_NAME": NAME,
}

#: The system files, in memory; the server's state is copied into memory as well, since all guests share one read-only root.
SYSTEM = """
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mkdir -p /dev/shm /dev/pts
for place in /tmp /run /dev/shm /srv; do mount -t tmpfs memory $place; done
cp -a /var/lib/nfs /tmp/.nfs; mount -t tmpfs memory /var/lib/nfs; cp -a /tmp/.nfs/. /var/lib/nfs/
mkdir -p /run/rpc_pipefs /run/sendsigs.omit.d /run/lock /run/rpcbind
mkdir /mnt/lab; mount -t hostfs none /mnt/lab -o {shared}
hostname {name}; modprobe af_packet
ip link set lo up; ip addr add {address}/24 dev vec0; ip link set vec0 up
for line in 0 1 2 3; do
    stty -F /dev/ttyS$line raw -echo
    setsid sh -c "exec < /dev/ttyS$line; exec sleep infinity" > /dev/null 2>&1 &
done
"""
# (Each of those lines is the terminal of a sleeper's session. Else it became that of the first command that writes a line
# there, and would be hung up for all others when that command ends.)

#: Bytes that the console takes at once.
PIECE = 512


class Console:
    """The line to the driver."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/console", os.O_RDWR)
        self._lock = threading.Lock()
        mode = termios.tcgetattr(self._fd)
        mode[0] = mode[1] = mode[3] = 0  # bytes as they are: no echo, no line editing, no signals
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)

    def requests(self) -> Iterator[Message]:
        """What the driver asks for, as it comes."""
        rest = b""
        while data := os.read(self._fd, 4096):
            *lines, rest = (rest + data).split(b"\n")
            yield from (json.loads(base64.b64decode(line)) for line in lines)

    def answer(self, id: int | str, code: int, out: str, seconds: float = 0.0) -> None:
        """Say how it went."""
        text = json.dumps({"id": id, "code": code, "out": out, "seconds": seconds})
        data = b"\n@@LAB " + base64.b64encode(text.encode()) + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._fd, data[:PIECE]) :]


def shell(command: str, timeout: float | None = None) -> tuple[int, str]:
    """Run a shell command: its exit code (124: it took too long and was killed) and what it printed."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        return 124, out.decode(errors="replace") + "\n[it took too long]"
    return process.returncode, out.decode(errors="replace")


def run(console: Console, request: Message) -> None:
    """Run the command of a request and answer it."""
    begun = time.monotonic()
    try:
        code, out = shell(request["command"], request["timeout"])
    except OSError as error:
        code, out = 126, str(error)
    console.answer(request["id"], code, out, time.monotonic() - begun)


def serve(console: Console) -> None:
    """Do what the driver asks for, until the power goes."""
    for request in console.requests():
        match request["do"]:
            case "run":
                threading.Thread(target=run, args=(console, request), daemon=True).start()
            case "time":
                console.answer(request["id"], 0, repr(time.time()))
            case "adjust":
                time.clock_settime(time.CLOCK_REALTIME, time.time() + request["seconds"])
                console.answer(request["id"], 0, "")
            case "poweroff":
                os.sync()
                subprocess.call(["/bin/busybox", "poweroff", "-f"])


def main() -> None:
    """Become a system, say hello, serve."""
    os.environ.update(ENVIRONMENT)
    _, complaints = shell(SYSTEM.format(name=NAME, address=ADDRESS, shared=SHARED))
    console = Console()
    console.answer("hello", 0, complaints)
    serve(console)
    threading.Event().wait()  # the first program must not end


if __name__ == "__main__":
    main()
