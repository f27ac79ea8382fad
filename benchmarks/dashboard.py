"""How soon the dashboard answers, and what memory it takes, with a million completed and 100,000 waiting jobs.

python -m benchmarks.dashboard [--completed 1000000] [--waiting 100000] [--place DIR]

The spool is made of real files: each job has one, the newest completed ones have a record and a log. While it is asked,
jobs go on ending, so that the counter is at work, too.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from queuectl import Spool, results, units
from queuectl.filename import Name, encode

#: Completed jobs that have a record and a log.
RECORDED = 5000

#: How often each page is asked for.
ROUNDS = 15


def fill(spool: Spool, completed: int, waiting: int) -> None:
    """Make the jobs: completed ones over the last two days, waiting ones of all priorities, every fourth scheduled."""
    now = time.time()
    for number in range(completed):
        end(
            spool,
            f"done-{number}",
            now - (completed - number) * 172800 / completed,
            recorded=number >= completed - RECORDED,
        )
    for number in range(waiting):
        due = now + (3600 + number if number % 4 == 0 else -number / 10)
        write(
            spool.at("pending", encode(Name(due, number % 10, 0, f"wait-{number}"))),
            b'{"command": "make report", "batch": "b%d"}' % (number % 50),
        )


def write(path: str, data: bytes) -> None:
    """A file as a program drops one."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, data)
    os.close(fd)


def end(spool: Spool, id: str, at: float, *, recorded: bool) -> None:
    """A job that was completed at this time."""
    file = f"completed/{encode(Name(at, 5, 1, id))}"
    if recorded:
        took = 0.1 + (hash(id) % 1000) / 500
        run = {
            "attempt": 1,
            "claim": f"processing/w/{id}",
            "to": file,
            "outcome": "completed",
            "duration": took,
            "worker": "w",
            "host": "h",
        }
        results.append(
            spool.at("results"),
            id,
            run | {"started_at": units.iso(at - took), "finished_at": units.iso(at)},
        )
        write(spool.log(id, 1, "out"), b"done\n")
    write(spool.at(file), b'{"command": "true", "name": "a job"}')


@contextmanager
def serving(spool: Spool) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The dashboard of a spool: its process and its port."""
    command = [
        sys.executable,
        "-m",
        "queuectl",
        "--spool",
        spool.path,
        "dashboard",
        "--port",
        "0",
        "--allow-actions",
    ]
    with tempfile.TemporaryFile("w+b") as log:
        process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        try:
            while not (
                found := re.search(
                    rb"dashboard at http://127.0.0.1:(\d+)/", os.pread(log.fileno(), 4096, 0)
                )
            ):
                if process.poll() is not None:
                    sys.exit(os.pread(log.fileno(), 4096, 0).decode())
                time.sleep(0.05)
            yield process, int(found.group(1))
        finally:
            process.terminate()
            process.wait()


def ask(port: int, path: str) -> tuple[float, int, bytes]:
    """Seconds until a whole answer is there, its status, and its text."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return time.monotonic() - began, answer.status, text


def peak(pid: int) -> int:
    """The most memory that a process has had, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) // 1024 if found else 0


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [
        int(word)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for word in (task / "children").read_text().split()
    ]


def deep(port: int, state: str, pages: int) -> str:
    """A page so far down a list."""
    after = ""
    for _ in range(pages):
        after = json.loads(ask(port, f"/api/jobs?state={state}&limit=200&after={after}")[2])["next"]
    return f"/jobs?state={state}&after={after}"


def main() -> None:
    """Fill, serve, ask, print a table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--completed", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--place", help="a directory on the disk to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="queuectl-bench-", dir=options.place) as directory:
        spool = Spool(f"{directory}/spool").make()
        fill(spool, options.completed, options.waiting)
        with serving(spool) as (process, port):
            measure(spool, process, port, options.completed, options.waiting)


def measure(
    spool: Spool, process: subprocess.Popen[bytes], port: int, completed: int, waiting: int
) -> None:
    """Ask for every kind of page, in turns, while jobs end."""
    began = time.monotonic()
    first = ask(port, "/")[0]
    while json.loads(ask(port, "/api/status")[2])["jobs"]["completed"] is None:
        time.sleep(0.1)
    counted = time.monotonic() - began
    print(
        f"{completed} completed, {waiting} waiting; the first page took {first * 1000:.0f} ms, counting them all {counted:.1f} s\n"
    )
    pages = {
        "overview": "/",
        "waiting": "/jobs",
        "waiting, 2,000 on": deep(port, "pending", 10),
        "completed": "/jobs?state=completed",
        "completed, 10,000 on": deep(port, "completed", 50),
        "completed, a day ago": "/jobs?state=completed&until=24h",
        "completed, part of an id": "/jobs?state=completed&id=77777",
        "completed, text that none has": "/jobs?state=completed&text=nothing",
        "waiting, a batch": "/jobs?batch=b7",
        "a completed job": f"/jobs/done-{completed - 1}",
        "an old one without a record": "/jobs/done-5",
        "a waiting job": "/jobs/wait-77",
        "no such job": "/jobs/nobody",
        "/api/status": "/api/status",
        "/api/jobs": "/api/jobs?state=completed&limit=50",
        "/metrics": "/metrics",
    }
    ending, times = threading.Event(), {name: list[float]() for name in pages}
    thread = threading.Thread(target=_go_on, args=(spool, ending))
    thread.start()
    for _ in range(ROUNDS):
        for name, path in pages.items():
            times[name].append(ask(port, path)[0] * 1000)
    ending.set()
    thread.join()
    print("| page | ms, median | ms, longest |\n|---|---|---|")
    for name, found in times.items():
        print(f"| {name} | {statistics.median(found):.0f} | {max(found):.0f} |")
    counter = children(process.pid)
    memory = f"the server {peak(process.pid)} MB, the counter {sum(map(peak, counter))} MB"
    print(f"\nmost memory: {memory}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def _go_on(spool: Spool, ending: threading.Event) -> None:
    number = 0
    while not ending.wait(0.02):
        end(spool, f"new-{number}", time.time(), recorded=True)
        number += 1


if __name__ == "__main__":
    main()
