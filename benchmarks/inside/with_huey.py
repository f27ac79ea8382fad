"""huey, on files or on SQLite; BENCH_STORE says which."""

from __future__ import annotations

import os
from typing import Any

import work
from huey import FileHuey, SqliteHuey

if os.environ.get("BENCH_STORE") == "file":
    huey = FileHuey("bench", path=os.path.join(work.DIRECTORY, "huey"))
else:
    huey = SqliteHuey("bench", filename=os.path.join(work.DIRECTORY, "huey.db"))


@huey.task()
def job(argv: list[str]) -> Any:
    """Run one; its exit code is its result."""
    return work.job(argv)


def put() -> Any:
    """Enqueue one."""
    return job
