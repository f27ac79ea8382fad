"""Enqueues by the library beside the bare system calls, in turns on one spool.

    enqueue.py single SPOOL COUNT     microseconds of each: bare, ours, with a chosen id; wall and CPU
    enqueue.py bulk SPOOL COUNT       seconds of COUNT jobs in bulk

The bare one is what durability costs on any disk: create, write, fsync, rename, fsync of the directory. It puts its
files into the same directories, so both see the same backlog.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from itertools import count as counter

from queuectl import Spool, ids
from queuectl.filename import Name, encode

DATA = b'{"command": ["/bin/sh", "-c", "true"], "cwd": "/", "created_at": "2026-11-22T10:15:02.123456Z"}\n'

_serial = counter()


def bare(tmp: str, pending: str) -> None:
    """One job, by system calls alone."""
    name = encode(Name(time.time(), 5, 0, ids.fresh()))
    path = f"{tmp}/{name}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.write(fd, DATA)
    os.fsync(fd)
    os.close(fd)
    os.rename(path, f"{pending}/{name}")
    fd = os.open(pending, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fsync(fd)
    os.close(fd)


def single(path: str, count: int) -> dict[str, dict[str, list[float]]]:
    """One of each, again and again."""
    spool = Spool(path).make()
    tmp, pending = spool.at("tmp"), spool.at("pending")
    job = {"command": ["/bin/sh", "-c", "true"], "cwd": "/"}
    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(tmp, pending),
        "ours": lambda: spool.enqueue(job),
        "chosen id": lambda: spool.enqueue({**job, "id": f"chosen-{os.getpid()}-{next(_serial)}"}),
    }
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in ways}
    for turn in range(count + 5):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.thread_time()
            way()
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            if turn >= 5:
                found[name]["wall"].append(wall * 1e6)
                found[name]["cpu"].append(cpu * 1e6)
    return found


def bulk(path: str, count: int) -> float:
    """Many at once."""
    spool = Spool(path).make()
    jobs = [{"command": ["/bin/sh", "-c", "true"], "cwd": "/"} for _ in range(count)]
    began = time.perf_counter()
    spool.enqueue_all(jobs)
    return time.perf_counter() - began


def main(verb: str, path: str, count: str) -> None:
    """Do what the words say."""
    print(json.dumps(single(path, int(count)) if verb == "single" else bulk(path, int(count))))


if __name__ == "__main__":
    main(*sys.argv[1:])
