"""dramatiq, with Redis."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
import work
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url="unix://" + os.path.join(work.DIRECTORY, "redis.sock")))


@dramatiq.actor
def job(argv: list[str]) -> None:
    """Run one."""
    work.job(argv)


def put() -> Any:
    """Enqueue one."""
    return job.send
