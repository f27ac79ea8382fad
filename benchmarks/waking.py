"""Waking: from the end of an enqueue on an idle system to the first instruction of the command.

The command is a small C program that takes the time before anything else. A bare spawn of the same program says how much of
it is not ours. poll_interval is an hour, so that nothing is found by a timed look.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.arena import Arena, Impossible
from benchmarks.figures import Part, Table, quantile, three
from benchmarks.peers import PEERS

#: Seconds of rest before each enqueue, on average, and until the second drop.
PAUSE, GAP = 0.1, 0.05

#: Seconds until workers must be up, and that they get to come to rest.
PATIENCE, REST = 20, 1

Found = dict[str, list[float]]


def spool_with_workers(arena: Arena, name: str) -> Path:
    """A new, empty spool."""
    spool = arena.place / name
    arena.fresh(name).rmdir()
    arena.queuectl(spool, "init")
    return spool


def until_up(spool: Path, count: int) -> None:
    """Wait until so many workers are there, and then until they rest."""
    deadline = time.monotonic() + PATIENCE
    while len(list((spool / "workers").glob("*.json"))) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the workers of {spool} did not come up")
        time.sleep(0.05)
    time.sleep(REST)


def _wake(
    arena: Arena,
    module: str,
    count: int,
    gap: float,
    python: str,
    env: dict[str, str],
    pause: float = PAUSE,
) -> Found:
    """Milliseconds of each first and second enqueue."""
    fifo = arena.place / "fifo"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    words = [str(count), str(pause), str(gap), str(fifo), arena.program("mark")]
    found: dict[str, list[int]] = arena.inside(
        "client", module, "wake", *words, python=python, **env
    )
    return {
        name: [nanoseconds / 1e6 for nanoseconds in values]
        for name, values in found.items()
        if values
    }


def ours(
    arena: Arena,
    module: str,
    count: int,
    gap: float,
    *,
    pause: float = PAUSE,
    spool: Path | None = None,
) -> Found:
    """The pick-ups of two idle workers of queuectl, on a new spool if none is given."""
    spool = spool or spool_with_workers(arena, "waking")
    with arena.workers(spool, 2, "--set", "poll_interval=3600"):
        until_up(spool, 2)
        return _wake(arena, module, count, gap, arena.python, {"BENCH_DIR": str(spool)}, pause)


def run(
    arena: Arena,
    *,
    count: int = 1000,
    enqueues: int = 500,
    peers: int = 100,
    idle: float = 0,
    only: Sequence[str] = (),
) -> Part:
    """The part. `count` drops, each with a second one; `idle`: seconds of idleness before one more drop."""
    print("waking: bare spawns", file=sys.stderr)
    bare = _wake(arena, "with_spawn", min(count, 500), 0, sys.executable, {})["first"]
    print("waking: queuectl", file=sys.stderr)
    drops = ours(arena, "with_drop", count, GAP)
    enqueued = ours(arena, "with_queuectl", enqueues, 0)["first"]
    found = {
        "a bare spawn": bare,
        "queuectl, a drop": drops["first"],
        "queuectl, a second drop 50 ms later": drops["second"],
        "queuectl, its own enqueue": enqueued,
    }
    if idle:
        found[f"queuectl, a drop after {idle:.0f} s of idleness"] = ours(
            arena, "with_drop", 1, 0, pause=idle
        )["first"]
    notes = _peers(arena, peers, only, found)
    rows = [
        [name, *three(values), *_above(values, bare), f"{len(values)}"]
        for name, values in found.items()
    ]
    table = Table(
        "Waking: milliseconds from the end of an enqueue to the running command",
        ["", "p50", "p99", "max", "p50 above", "p99 above", "of"],
        rows,
        [
            "Two idle workers. Above: above a bare spawn's p50. poll_interval of queuectl is an hour.",
            *notes,
        ],
    )
    data: dict[str, Any] = {"milliseconds": found}
    return Part(data, [table])


def _above(values: list[float], bare: list[float]) -> list[str]:
    usual = quantile(bare, 0.5)
    return [f"{quantile(values, part) - usual:.1f}" for part in (0.5, 0.99)]


def _peers(arena: Arena, count: int, only: Sequence[str], found: Found) -> list[str]:
    """Wake each peer; a line for each that cannot be."""
    notes = []
    for peer in PEERS if count else []:
        if not peer.wakes or (only and not any(word.lower() in peer.name.lower() for word in only)):
            continue
        print(f"waking: {peer.name}", file=sys.stderr)
        why = peer.obstacle(arena)
        try:
            if why:
                raise Impossible(why)
            with peer.idle(arena) as bench:
                time.sleep(3)  # the slowest of them need two to come up
                found[peer.name] = _wake(
                    arena, peer.module, count, 0, arena.peers or sys.executable, bench.env
                )["first"]
        except (Impossible, RuntimeError) as error:
            notes.append(f"Left out: {peer.name}, because {error}.")
    return notes
