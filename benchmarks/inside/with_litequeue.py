"""litequeue, a queue in SQLite, with a bare loop."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator

from litequeue import LiteQueue

#: Seconds between two looks of an idle loop.
PAUSE = 0.05


def _queue() -> LiteQueue:
    return LiteQueue(os.path.join(os.environ["BENCH_DIR"], "litequeue.db"))


def put() -> Callable[[list[str]], object]:
    """Enqueue one."""
    queue = _queue()
    return lambda argv: queue.put(json.dumps(argv))


def jobs(forever: bool) -> Iterator[list[str]]:
    """What is in the queue."""
    queue = _queue()
    while True:
        message = queue.pop()
        if message is not None:
            yield json.loads(message.data)
            queue.done(message.message_id)
        elif forever:
            time.sleep(PAUSE)
        else:
            return
