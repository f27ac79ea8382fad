"""No queue at all: a bare spawn, which is what every other pick-up is compared with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def put() -> Callable[[list[str]], object]:
    """Start it; somebody else waits for it."""

    def spawn(argv: list[str]) -> None:
        pid = os.posix_spawn(argv[0], argv, os.environ)
        threading.Thread(target=os.waitpid, args=(pid, 0)).start()

    return spawn
