"""queuectl by a file that any program drops: write it in tmp/, rename it into pending/."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable


def put() -> Callable[[list[str]], object]:
    """Drop one. The time counts from the end of the rename."""
    spool, serial = os.environ["BENCH_DIR"], itertools.count()

    def drop(argv: list[str]) -> None:
        name = f"drop-{os.getpid()}-{next(serial)}.json"
        path = os.path.join(spool, "tmp", name)
        with open(path, "w") as file:
            json.dump({"command": argv}, file)
        os.rename(path, os.path.join(spool, "pending", name))

    return drop
