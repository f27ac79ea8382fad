"""The drain: jobs queued ahead, two workers, how fast and at what CPU, beside the limit and beside the peers.

In each round every contestant stands between two runs of the limit, and is compared with their mean. Ours runs with
everything on: records, logs of both streams, retries, heartbeats, the durable default.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from benchmarks.arena import JOB, Arena, Cost, Impossible
from benchmarks.figures import Part, Table, ratios, spread
from benchmarks.peers import BARE, PEERS, Peer

#: How ours is called in tables and in JSON.
OURS = "queuectl, everything on"

WIDTH = 2

Drain = Callable[[Arena, int], tuple[int, Cost]]


def fill(arena: Arena, name: str, count: int) -> str:
    """A new spool with so many jobs; its path."""
    spool = arena.fresh(name)
    spool.rmdir()
    arena.inside("client", "with_queuectl", "fill", str(count), *JOB, BENCH_DIR=str(spool))
    return str(spool)


def ours(arena: Arena, count: int, *launcher: str) -> tuple[int, Cost]:
    """Drain a new spool with queuectl; `launcher` are words for inside/launch.py."""
    spool = arena.place / "spool"
    fill(arena, "spool", count)
    cost = arena.cost(
        arena.start(spool, WIDTH, "--drain", launcher=launcher), log=arena.place / "spool.log"
    )
    done = sum(1 for _ in (spool / "completed").iterdir())
    if done != count:
        raise RuntimeError(f"{done} of {count} jobs completed; see {arena.place}/spool.log")
    return count, cost


def contestants(
    arena: Arena, only: Sequence[str]
) -> tuple[dict[str, Drain], dict[str, str], list[str]]:
    """Who takes part: name -> how it drains, name -> what it records; and a line for each peer that cannot."""
    drains: dict[str, Drain] = {BARE.name: BARE.drain, OURS: ours}
    records, out = {BARE.name: BARE.records, OURS: "yes"}, []
    for peer in PEERS:
        if only and not any(word.lower() in peer.name.lower() for word in only):
            continue
        if why := peer.obstacle(arena):
            out.append(f"Left out: {peer.name}, because {why}.")
            continue
        drains[peer.name], records[peer.name] = peer.drain, peer.records
    return drains, records, out


def run(arena: Arena, *, count: int = 2000, rounds: int = 5, only: Sequence[str] = ()) -> Part:
    """The part. `only`: words of the names of the peers that shall take part; ours and the bare spool always do."""
    drains, records, notes = contestants(arena, only)
    found: dict[str, dict[str, list[float]]] = {
        name: {"of_limit": [], "cpu": [], "rate": []} for name in drains
    }
    limits: list[float] = []
    for turn in range(rounds):
        before = arena.limit(count, WIDTH)
        for name in list(drains):
            print(f"drain: round {turn + 1} of {rounds}, {name}", file=sys.stderr)
            try:
                jobs, cost = drains[name](arena, count)
            except (Impossible, RuntimeError) as error:
                notes.append(f"Left out: {name}, because {error}.")
                del drains[name], found[name]
                if name in (OURS, BARE.name):
                    raise
                continue
            after = arena.limit(count, WIDTH)
            wall, cpu = ((a + b) / 2 / count for a, b in zip(before, after, strict=True))
            found[name]["of_limit"].append(wall / (cost.wall / jobs))
            found[name]["cpu"].append(cost.cpu / jobs / cpu)
            found[name]["rate"].append(jobs / cost.wall)
            limits.append(1 / wall)
            before = after
    return _part(found, records, limits, notes, count, rounds)


def _part(
    found: dict[str, dict[str, list[float]]],
    records: dict[str, str],
    limits: list[float],
    notes: list[str],
    count: int,
    rounds: int,
) -> Part:
    over_bare = ratios(found[OURS]["rate"], found[BARE.name]["rate"])
    order = sorted(found, key=lambda name: name == OURS)
    rows = [
        [name, spread(found[name]["of_limit"]), spread(found[name]["cpu"]), records[name]]
        for name in order
    ]
    note = (
        f"queuectl over the bare rename spool, in the same round: **{spread(over_bare)}**. "
        f"The limit: {spread(limits, 0)} jobs a second. Medians of {rounds} rounds and their spread."
    )
    title = f"Drain: {count:,} jobs `/bin/sh -c true`, {WIDTH} workers"
    table = Table(title, ["", "of limit", "CPU / C", "records outcomes"], rows, [note, *notes])
    data = {
        "count": count,
        "rounds": rounds,
        "contestants": found,
        "over_bare": over_bare,
        "limits": limits,
        "records": records,
    }
    return Part(data, [table])


def peer(name: str) -> Peer:
    """The peer of this name."""
    return next(peer for peer in PEERS if peer.name == name)
