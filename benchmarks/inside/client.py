"""The client of any queue: fills it, or wakes its idle workers and says how long that takes.

    client.py MODULE fill COUNT ARGV...
    client.py MODULE wake COUNT PAUSE GAP FIFO MARK

MODULE has put(): a function that enqueues one argv. `wake` enqueues MARK, which writes the time at its first
instruction into FIFO, and GAP seconds later (0: not) another one; then it rests for PAUSE seconds, and again.
Prints the nanoseconds from the end of each enqueue to that first instruction: {"first": [...], "second": [...]}.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any


def fill(module: Any, count: int, argv: list[str]) -> None:
    """Enqueue one argv many times, by the peer's own way for many if it has one."""
    if hasattr(module, "put_all"):
        module.put_all([argv] * count)
        return
    put = module.put()
    for _ in range(count):
        put(argv)


def _once(put: Callable[[list[str]], object], argv: list[str], fifo: int) -> int:
    put(argv)
    enqueued = time.monotonic_ns()
    return int(os.read(fifo, 64)) - enqueued


def wake(
    module: Any, count: int, pause: float, gap: float, fifo: str, mark: str
) -> dict[str, list[int]]:
    """Enqueue one at a time on an idle system."""
    put, argv = module.put(), [mark, fifo]
    reader = os.open(fifo, os.O_RDWR)
    found: dict[str, list[int]] = {"first": [], "second": []}
    for _ in range(count):
        time.sleep(pause * (0.5 + random.random()))
        began = time.monotonic()
        found["first"].append(_once(put, argv, reader))
        if gap:
            time.sleep(max(0.0, began + gap - time.monotonic()))
            found["second"].append(_once(put, argv, reader))
    return found


def main(name: str, verb: str, *words: str) -> None:
    """Do what the words say."""
    module = importlib.import_module(name)
    if verb == "fill":
        fill(module, int(words[0]), list(words[1:]))
    else:
        count, pause, gap, fifo, mark = words
        print(json.dumps(wake(module, int(count), float(pause), float(gap), fifo, mark)))


if __name__ == "__main__":
    main(*sys.argv[1:])
