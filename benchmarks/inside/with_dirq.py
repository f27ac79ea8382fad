"""python-dirq, a queue of files in directories, with a bare loop."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator

from dirq.QueueSimple import QueueSimple

#: Seconds between two looks of an idle loop.
PAUSE = 0.1


def _queue() -> QueueSimple:
    return QueueSimple(os.path.join(os.environ["BENCH_DIR"], "dirq"))


def put() -> Callable[[list[str]], object]:
    """Enqueue one."""
    queue = _queue()
    return lambda argv: queue.add(json.dumps(argv))


def jobs(forever: bool) -> Iterator[list[str]]:
    """What is in the queue."""
    queue = _queue()
    while True:
        found = False
        for name in queue:
            if queue.lock(name):
                found = True
                yield json.loads(queue.get(name))
                queue.remove(name)
        if not found:
            if not forever:
                return
            time.sleep(PAUSE)
