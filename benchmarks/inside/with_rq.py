"""RQ, with Redis."""

from __future__ import annotations

import os
from collections.abc import Callable

import work
from redis import Redis
from rq import Queue


def put() -> Callable[[list[str]], object]:
    """Enqueue one."""
    queue = Queue(
        connection=Redis(unix_socket_path=os.path.join(os.environ["BENCH_DIR"], "redis.sock"))
    )
    return lambda argv: queue.enqueue(work.run, argv)
