"""The reaper: a process of its own that takes a lab down once its driver has closed the pipe or died, however it died.

`python reaper.py NAMESPACE DIRECTORY`: every process with LAB_RUN=DIRECTORY in its environment is ended with its group,
then the network namespace and the directory are removed. It is told nothing on the way, so there is no moment at which
a guest is started but not yet known.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading


def marked(mark: bytes) -> set[int]:
    """The process groups of all whose environment holds `mark`."""
    groups = set()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    groups.add(os.getpgid(int(name)))
    return groups


def reap(namespace: str, directory: str) -> None:
    """End the guests, and remove what they had."""
    while groups := marked(b"LAB_RUN=" + os.fsencode(directory)):
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        threading.Event().wait(0.05)
    subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL, check=False)
    shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """Wait for the driver's end, then reap."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    reap(*sys.argv[1:])


if __name__ == "__main__":
    main()
