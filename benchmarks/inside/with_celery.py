"""Celery, with Redis for the queue and for the results."""

from __future__ import annotations

import os
from typing import Any

import work
from celery import Celery

_URL = "redis+socket://" + os.path.join(work.DIRECTORY, "redis.sock")

app = Celery("bench", broker=_URL, backend=_URL)
app.conf.broker_connection_retry_on_startup = True


@app.task
def job(argv: list[str]) -> Any:
    """Run one; its exit code is its result."""
    return work.job(argv)


def put() -> Any:
    """Enqueue one."""
    return job.delay
