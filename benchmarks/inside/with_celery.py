"""Celery, with Redis for the queue and for the results."""

from __future__ import annotations

import os
from collections.abc import Callable

import work
from celery import Celery

_URL = "redis+socket://" + os.path.join(work.DIRECTORY, "redis.sock")

app = Celery("bench", broker=_URL, backend=_URL)
app.conf.broker_connection_retry_on_startup = True


@app.task
def job(argv: list[str]) -> int:
    """Run one; its exit code is its result."""
    return work.job(argv)


def put() -> Callable[[list[str]], object]:
    """Enqueue one."""
    return job.delay
