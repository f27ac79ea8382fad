"""Queues that are programs: task-spooler and nq. BENCH_TOOL is the program; its directory is in its own variables."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable


def put() -> Callable[[list[str]], object]:
    """Call the program; the job is enqueued when it ends."""
    tool = os.environ["BENCH_TOOL"]
    return lambda argv: subprocess.run(
        [tool, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
    )
