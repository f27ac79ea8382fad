"""What a job of a peer does: start its argv, wait, and count itself.

Leaves to others
    taking the job (the module of the peer).
"""

from __future__ import annotations

import os

#: Where a peer keeps its queue, and where each job that was run leaves a byte.
DIRECTORY = os.environ.get("BENCH_DIR", ".")
TALLY = os.path.join(DIRECTORY, "tally")

_tally = -1


def run(argv: list[str]) -> int:
    """Start it as cheaply as Python can; its exit code."""
    pid = os.posix_spawn(argv[0], argv, os.environ)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def count() -> None:
    """Leave a byte in the tally."""
    global _tally
    if _tally < 0:
        _tally = os.open(TALLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(_tally, b".")


def job(argv: list[str]) -> int:
    """A whole job."""
    code = run(argv)
    count()
    return code
