"""What a run costs: its seconds, and the CPU of its whole process tree, orphans and all.

    cost.py [--tally FILE COUNT] [--servers PID,...] [--before [[ARGV...]...]] -- ARGV...

Without a tally the run is over when ARGV ends. With one it is over when FILE has COUNT bytes (each job writes one):
a consumer that never ends by itself gets TERM then. The CPU of servers that run already is what they use meanwhile.
What the commands of `before` cost is not counted, but what they leave behind belongs to the tree.
Prints one JSON object: wall, cpu.

Promises
    Every process that ARGV leaves behind is adopted and waited for, or killed after a while.
Raises
    SystemExit if ARGV fails, or the tally is not full in time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time

#: Seconds that a whole run, and those that it leaves behind, may take.
PATIENCE, AFTERMATH = 300, 20

#: Seconds between two looks at a tally.
_PAUSE = 0.005

_SUBREAPER = 36


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _served(servers: list[int]) -> float:
    """CPU seconds of processes that are not below us."""
    total = 0
    for pid in servers:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def _used(servers: list[int]) -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime + _served(servers)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _until_full(process: subprocess.Popen[bytes], path: str, count: int) -> float:
    """When the tally was full."""
    deadline = time.monotonic() + PATIENCE
    while _size(path) < count:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"cost: {_size(path)} of {count} jobs were done")
        time.sleep(_PAUSE)
    now = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    return now


def _see_out(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(AFTERMATH)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _children() -> list[int]:
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
        return [int(word) for word in file.read().split()]


def _collect(patience: float) -> None:
    """Wait for the orphans; kill those that stay."""
    deadline = time.monotonic() + patience
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        if time.monotonic() > deadline:
            for child in _children():
                os.kill(child, signal.SIGKILL)
        time.sleep(_PAUSE)


def _run(words: argparse.Namespace) -> dict[str, float]:
    for argv in words.before:
        subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE
        )
    before, began = _used(words.servers), time.perf_counter()
    process = subprocess.Popen(words.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if words.tally:
        ended = _until_full(process, words.tally[0], int(words.tally[1]))
        _see_out(process)
    else:
        # Popen.wait with a timeout looks every 50 ms, and each run would take a multiple of that.
        signal.alarm(PATIENCE)
        code = process.wait()
        signal.alarm(0)
        ended = time.perf_counter()
        if code:
            raise SystemExit(f"cost: {words.argv[0]} failed with {code}")
    _collect(AFTERMATH)
    return {"wall": ended - began, "cpu": _used(words.servers) - before}


def main() -> None:
    """Run it and say what it cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tally", nargs=2)
    parser.add_argument(
        "--servers", type=lambda text: [int(pid) for pid in text.split(",") if pid], default=[]
    )
    parser.add_argument("--before", type=json.loads, default=[])
    parser.add_argument("argv", nargs="+")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("cost: told to stop"))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"cost: not done after {PATIENCE} s"))
    _adopt_orphans()
    try:
        print(json.dumps(_run(words)))
    finally:
        _collect(0)  # whatever went wrong, nothing stays


if __name__ == "__main__":
    main()
