"""Figures: medians, their spread, and Markdown tables. Pure.

Raises
    ValueError for no values at all.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Table:
    """One table of a part: what it says, and how it was measured."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [
            f"### {self.title}",
            "",
            _row(self.head),
            _row(["---"] * len(self.head)),
            *map(_row, self.rows),
        ]
        return "\n".join([*lines, "", *self.notes, ""])


@dataclass
class Part:
    """What a part found: `data` for programs, `tables` for people."""

    data: dict[str, Any]
    tables: list[Table]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def quantile(values: Iterable[float], part: float) -> float:
    """The value below which `part` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def spread(values: Sequence[float], digits: int = 2, *, most: float = 1.0) -> str:
    """The median with its spread: all values, or with `most` < 1 that part of them in the middle."""
    ordered = sorted(values)
    outside = int(len(ordered) * (1 - most) / 2 + 1e-9)
    low, high = ordered[outside], ordered[-1 - outside]
    return f"{median(values):.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Each of one list by its neighbour in the other."""
    return [a / b for a, b in zip(over, under, strict=True)]


def three(values: Sequence[float], digits: int = 1) -> list[str]:
    """p50, p99 and the largest, as cells."""
    return [
        f"{value:.{digits}f}"
        for value in (quantile(values, 0.5), quantile(values, 0.99), max(values))
    ]
