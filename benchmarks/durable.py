"""Durable outcomes: the drain with the durable default beside one in which no outcome is ever synced."""

from __future__ import annotations

import sys

from benchmarks.arena import Arena
from benchmarks.drain import ours
from benchmarks.figures import Part, Table, ratios, spread


def run(arena: Arena, *, count: int = 2000, rounds: int = 5) -> Part:
    """The part. The order of the two changes with each round."""
    rates: dict[str, list[float]] = {"durable": [], "never": []}
    for turn in range(rounds):
        print(f"durable: round {turn + 1} of {rounds}", file=sys.stderr)
        for name in sorted(rates, reverse=turn % 2 == 1):
            # Both by the launcher with the same words, so that only the sync differs.
            launcher = ["--claims", "/dev/null", *(["--no-sync"] if name == "never" else [])]
            jobs, cost = ours(arena, count, *launcher)
            rates[name].append(jobs / cost.wall)
    ratio = ratios(rates["durable"], rates["never"])
    table = Table(
        "Durable outcomes",
        ["", "jobs a second", "of never"],
        [
            ["outcomes never synced", spread(rates["never"], 0), "1"],
            [
                "the durable default: in groups, off the job's path",
                spread(rates["durable"], 0),
                spread(ratio, 3),
            ],
        ],
        [
            f"{count:,} jobs `/bin/sh -c true`, 2 workers, medians of {rounds} rounds and their spread."
        ],
    )
    return Part({"count": count, "rates": rates, "ratio": ratio}, [table])
