"""Two plots as SVG: how fast each contestant drains, and what a growing backlog does to the cost of a job.

They have no background and take the colour of their text from the reader's light or dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.drain import OURS
from benchmarks.figures import median

WIDTH = 720

_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #444 }
.title { font-weight: 600; font-size: 15px }
.small { font-size: 11px }
.axis, .grid { stroke: #999; fill: none } .grid { stroke-opacity: .35 }
.peer { fill: #9aa5b1 } .ours { fill: #2f80d0 } .line { stroke: #2f80d0; stroke-width: 2; fill: none }
.whisker { stroke: #555 }
@media (prefers-color-scheme: dark) { text { fill: #ccc } .whisker { stroke: #ddd } .peer { fill: #6b7682 } }
</style>"""


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, _STYLE, _text(10, 22, title, "title"), *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def drain(data: dict[str, Any]) -> str:
    """Bars: the rate of each contestant as a part of the limit, with its spread."""
    bars = sorted(
        ((median(found["of_limit"]), name, found) for name, found in data["contestants"].items()),
        reverse=True,
    )
    left, right, top, row = 220.0, WIDTH - 130.0, 56.0, 26.0
    most: float = max(1.0, *(max(found["of_limit"]) for _, _, found in bars))

    def at(value: float) -> float:
        return left + (right - left) * value / most

    bottom = top + row * len(bars)
    parts = [_text(WIDTH - 10, 46, "CPU / C", "small", "end")]
    for step in range(5):
        parts += [
            _line(at(step / 4), top - 4, at(step / 4), bottom, "grid"),
            _text(at(step / 4), bottom + 16, f"{step / 4:g}", "small", "middle"),
        ]
    for index, (value, name, found) in enumerate(bars):
        y = top + row * index
        low, high = min(found["of_limit"]), max(found["of_limit"])
        kind = "ours" if name == OURS else "peer"
        parts.append(_text(left - 8, y + 16, name, "", "end"))
        parts.append(
            f'<rect class="{kind}" x="{left}" y="{y + 4:.1f}" width="{at(value) - left:.1f}" height="{row - 9}" rx="2"/>'
        )
        parts.append(_line(at(low), y + row / 2, at(high), y + row / 2, "whisker"))
        parts.append(_text(WIDTH - 10, y + 16, f"{median(found['cpu']):.2f}", "small", "end"))
    parts.append(
        _text(
            left,
            bottom + 34,
            "rate, as a part of what a C program does that only spawns and waits",
            "small",
        )
    )
    return _svg(bottom + 46, f"{data['count']:,} jobs, 2 workers", parts)


def growth(data: dict[str, Any]) -> str:
    """A line: microseconds of queuectl's own work for a job, over the backlog."""
    points = sorted(
        (int(size), median(values), min(values), max(values))
        for size, values in data["claim_complete"].items()
    )
    left, right, top, bottom = 70.0, WIDTH - 30.0, 50.0, 300.0
    first, last = math.log10(points[0][0]), math.log10(points[-1][0])
    most = _round_up(1.15 * max(point[3] for point in points))

    def at(size: int, value: float) -> tuple[float, float]:
        return left + (right - left) * (math.log10(size) - first) / max(
            1e-9, last - first
        ), bottom - (bottom - top) * value / most

    parts = []
    for step in range(5):
        x, y = at(points[0][0], most * step / 4)
        parts += [
            _line(left, y, right, y, "axis" if step == 0 else "grid"),
            _text(left - 8, y + 4, f"{most * step / 4:g}", "small", "end"),
        ]
    path = " ".join(
        f"{x:.1f},{y:.1f}" for x, y in (at(size, value) for size, value, _, _ in points)
    )
    parts.append(f'<polyline class="line" points="{path}"/>')
    for size, value, low, high in points:
        x, y = at(size, value)
        parts += [
            _line(x, at(size, low)[1], x, at(size, high)[1], "whisker"),
            f'<circle class="ours" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
        ]
        parts += [
            _text(x, bottom + 18, f"{size:,}", "small", "middle"),
            _text(x, y - 10, f"{value:.0f}", "small", "middle"),
        ]
    parts.append(_text(right, bottom + 38, "jobs waiting", "small", "end"))
    return _svg(bottom + 50, "Claim + record + complete, microseconds a job", parts)


def _round_up(value: float) -> float:
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1.0, 2.0, 4.0, 5.0, 8.0, 10.0) if step * unit >= value)


def write(found: dict[str, Any], into: Path) -> list[Path]:
    """Draw what there is of it; the files."""
    written = []
    for name, draw in (("drain", drain), ("growth", growth)):
        if name in found:
            path = into / f"{name}.svg"
            path.write_text(draw(found[name]))
            written.append(path)
    return written
