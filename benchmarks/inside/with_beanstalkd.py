"""beanstalkd, a server that keeps jobs in memory, with a bare loop."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import greenstalk


def _client() -> greenstalk.Client:
    return greenstalk.Client(os.path.join(os.environ["BENCH_DIR"], "beanstalkd.sock"))


def put() -> Callable[[list[str]], object]:
    """Enqueue one."""
    client = _client()
    return lambda argv: client.put(json.dumps(argv))


def jobs(forever: bool) -> Iterator[list[str]]:
    """What is in the queue."""
    client = _client()
    while True:
        try:
            job = client.reserve(timeout=None if forever else 0)
        except greenstalk.TimedOutError:
            return
        yield json.loads(job.body)
        client.delete(job)
