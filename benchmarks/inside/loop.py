"""The bare loop around a queue that has no workers of its own: take, spawn, wait, done.

    loop.py MODULE WIDTH [forever]

MODULE has jobs(forever): it yields argvs, and a job is done when the next one is asked for.
"""

from __future__ import annotations

import importlib
import os
import sys

import work


def main(name: str, width: int, *, forever: bool) -> None:
    """Work with `width` processes until nothing is left."""
    module = importlib.import_module(name)
    workers = []
    for _ in range(width):
        pid = os.fork()
        if not pid:
            for argv in module.jobs(forever):
                work.run(argv)
            os._exit(0)
        workers.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in workers]
    if any(codes):
        raise SystemExit("loop: a worker failed")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), forever="forever" in sys.argv[3:])
