"""queuectl with a change that is only for measuring.

    launch.py [--no-sync] [--claims FILE] -- WORDS OF QUEUECTL...

--no-sync    outcomes are never made durable: what does that cost?
--claims     each worker that ends appends "TRIED LOST" to FILE: how many names it tried to claim, and how many others had
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from queuectl import life
from queuectl.flusher import Flusher
from queuectl.spool import Spool


def change(owner: object, name: str, value: object) -> None:
    """Put something of ours in the place of what has this name."""
    getattr(owner, name)  # it must be there
    setattr(owner, name, value)


def without_sync() -> None:
    """Nothing is ever noted for the flusher."""
    change(Flusher, "note", lambda self: None)


def counting_claims(path: str) -> None:
    """Count the claims of each worker."""
    tried = lost = 0
    claim, live = Spool.claim, life.live

    def counted(*words: Any) -> Any:
        nonlocal tried, lost
        answer = claim(*words)
        tried += 1
        lost += answer is None
        return answer

    def counted_life(*words: Any) -> None:
        try:
            live(*words)
        finally:
            with open(path, "a") as file:
                file.write(f"{tried} {lost}\n")

    change(Spool, "claim", counted)
    change(life, "live", counted_life)


def main() -> None:
    """Change queuectl and run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-sync", action="store_true")
    parser.add_argument("--claims")
    parser.add_argument("words", nargs="+")
    options = parser.parse_args()
    if options.no_sync:
        without_sync()
    if options.claims:
        counting_claims(options.claims)
    sys.argv = ["queuectl", *options.words]
    from queuectl.__main__ import main as queuectl

    queuectl()


if __name__ == "__main__":
    main()
