"""queuectl by its own library."""

from __future__ import annotations

import os
from collections.abc import Callable

from queuectl import Spool


def _spool() -> Spool:
    return Spool(os.environ["BENCH_DIR"])


def put() -> Callable[[list[str]], object]:
    """Enqueue one, durably."""
    spool = _spool()
    return lambda argv: spool.enqueue({"command": argv, "cwd": os.getcwd()})


def put_all(jobs: list[list[str]]) -> None:
    """Enqueue many, durably."""
    _spool().enqueue_all([{"command": argv, "cwd": os.getcwd()} for argv in jobs])
