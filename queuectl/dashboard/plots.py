"""The plots: where the bars and lines of a drawing go. Pure; a template draws them.

Leaves to others
    the figures (desk), the drawing (templates/plot.svg), the colours (static/style.css).
Raises
    nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from queuectl.dashboard.desk import Bucket

#: The drawing in units of its own: the whole, and the margins at the left and at the bottom.
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 170, 46, 22, 10


def throughput(found: Sequence[Bucket], width: int) -> dict[str, Any]:
    """Bars: what ended in each stretch of time, completed below and dead above."""
    most = _nice(max((bucket.completed + bucket.dead for bucket in found), default=0))
    step = (WIDTH - LEFT) / len(found)
    bars = []
    for number, bucket in enumerate(found):
        x, floor = LEFT + number * step, float(HEIGHT - BOTTOM)
        for kind, count in (("completed", bucket.completed), ("dead", bucket.dead)):
            height = count / most * (HEIGHT - BOTTOM - TOP)
            floor -= height
            if count:
                text = f"{_clock(bucket.at)}: {count} {kind}"
                bars.append(
                    {
                        "x": _r(x),
                        "y": _r(floor),
                        "w": _r(step * 0.85),
                        "h": _r(height),
                        "kind": kind,
                        "text": text,
                    }
                )
    done, dead = sum(b.completed for b in found), sum(b.dead for b in found)
    said = f"{done} completed and {dead} dead in the last {_span(len(found) * width)}"
    return {
        **_frame(found, most, lambda value: f"{value:g}"),
        "bars": bars,
        "lines": [],
        "said": said,
    }


def run_times(found: Sequence[Bucket], width: int) -> dict[str, Any]:
    """Lines: the median and the 95th percentile of run times."""
    most = _nice(max((bucket.high or 0.0 for bucket in found), default=0.0))
    step = (WIDTH - LEFT) / len(found)
    lines = []
    for kind in ("high", "median"):
        points = [
            (
                LEFT + (number + 0.5) * step,
                HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - TOP),
                value,
                bucket.at,
            )
            for number, bucket in enumerate(found)
            if (value := getattr(bucket, kind)) is not None
        ]
        what = "median" if kind == "median" else "95 %"
        dots = [
            {"x": _r(x), "y": _r(y), "text": f"{_clock(at)}: {what} {seconds(value)}"}
            for x, y, value, at in points
        ]
        lines.append(
            {
                "kind": kind,
                "points": " ".join(f"{_r(x)},{_r(y)}" for x, y, _, _ in points),
                "dots": dots,
            }
        )
    medians = [bucket.median for bucket in found if bucket.median is not None]
    last = f"the latest median is {seconds(medians[-1])}" if medians else "no runs are recorded"
    return {
        **_frame(found, most, seconds),
        "bars": [],
        "lines": lines,
        "said": f"Run times of the last {_span(len(found) * width)}: {last}",
    }


def _frame(found: Sequence[Bucket], most: float, show: Any) -> dict[str, Any]:
    floor = HEIGHT - BOTTOM
    marks = [
        {"y": _r(floor - part * (floor - TOP)), "text": show(part * most)} for part in (0, 0.5, 1)
    ]
    step = (WIDTH - LEFT) / len(found)
    places = [(0, "start"), (len(found) // 2, "middle"), (len(found) - 1, "end")]
    times = [
        {
            "x": _r(LEFT + (n + n / max(1, len(found) - 1)) * step),
            "text": _clock(found[n].at),
            "anchor": a,
        }
        for n, a in places
    ]
    return {"width": WIDTH, "height": HEIGHT, "left": LEFT, "marks": marks, "times": times}


def timeline(spans: Sequence[tuple[float, float, str]], width: int = 600) -> list[dict[str, Any]]:
    """Bars for (begin, end, kind), on one line from the first begin to the last end."""
    if not spans:
        return []
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    scale = width / max(last - first, 0.001)
    return [
        {"x": _r((a - first) * scale), "w": _r(max(2.0, (b - a) * scale)), "kind": kind}
        for a, b, kind in spans
    ]


def seconds(value: float) -> str:
    """A run time for people: 0.012 s, 3.4 s, 12 min."""
    if value < 10:
        return f"{value:.3g} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _nice(value: float) -> float:
    """The first round number that is not less than `value`."""
    if value <= 0:
        return 1.0
    value = max(value, 1e-6)
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999999)


def _clock(at: float) -> str:
    return time.strftime("%H:%M", time.gmtime(at))


def _span(value: int) -> str:
    return "hour" if value == 3600 else "day"


def _r(value: float) -> str:
    return f"{value:.1f}"
