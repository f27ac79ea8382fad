"""Enqueue: by the library, durably, one by one and in bulk, beside the system calls that durability needs anyway."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.arena import Arena
from benchmarks.figures import Part, Table, median, spread

Single = dict[str, dict[str, list[float]]]


def run(
    arena: Arena, *, count: int = 500, backlog: int = 100_000, bulk: int = 10_000, rounds: int = 3
) -> Part:
    """The part. `count`: enqueues of each kind at each backlog; `bulk`: jobs at once, `rounds` times."""
    singles: dict[str, Single] = {}
    for jobs in (0, backlog):
        print(f"enqueue: {count} of each with {jobs} jobs waiting", file=sys.stderr)
        spool = arena.fresh("enqueue")
        spool.rmdir()
        if jobs:
            arena.inside("growth", "make", str(spool), str(jobs), "pending", "delayed")
        singles[str(jobs)] = arena.inside("enqueue", "single", str(spool), str(count))
    each: list[float] = []
    for turn in range(rounds):
        print(f"enqueue: {bulk} in bulk, {turn + 1} of {rounds}", file=sys.stderr)
        spool = arena.fresh("bulk")
        spool.rmdir()
        each.append(1e6 * arena.inside("enqueue", "bulk", str(spool), str(bulk)) / bulk)
    return Part(
        {"microseconds": singles, "bulk": each},
        [_single_table(singles, count), _bulk_table(singles["0"], each, bulk)],
    )


def _middle(values: Sequence[float]) -> str:
    return spread(values, 0, most=0.5)


def _differences(more: Sequence[float], less: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(more, less, strict=True)]


def _single_table(singles: dict[str, Single], count: int) -> Table:
    rows: list[Sequence[str]] = []
    for jobs, found in singles.items():
        for name, label, base in (
            ("bare", "create + write + fsync + rename + fsync", ""),
            ("ours", "enqueue", "bare"),
            ("chosen id", "enqueue with an id", "ours"),
        ):
            one = found[name]
            over: list[Any] = [
                _middle(_differences(one[kind], found[base][kind])) if base else ""
                for kind in ("wall", "cpu")
            ]
            rows.append([f"{int(jobs):,}", label, _middle(one["wall"]), *over])
    note = (
        f"Microseconds, medians of {count}, in turns on one spool, with the middle half. An enqueue is compared with the bare calls, "
        "one with an id with one without."
    )
    return Table(
        "Enqueue by the library, one by one, durable",
        ["waiting", "", "us", "us on top", "of it CPU"],
        rows,
        [note],
    )


def _bulk_table(found: Single, each: list[float], bulk: int) -> Table:
    one = median(found["ours"]["wall"])
    rows = [
        ["one by one", f"{one:.0f}", "1"],
        [f"{bulk:,} in bulk", spread(each, 0), f"{one / median(each):.1f} times cheaper"],
    ]
    return Table("Enqueue in bulk, durable", ["", "us a job", ""], rows, [])
