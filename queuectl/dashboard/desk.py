"""The desk: what every page and every answer of the API needs at hand.

Leaves to others
    counting (counter), who may come in (door).
Raises
    nothing.
"""

from __future__ import annotations

import secrets
import time
from typing import Any, NamedTuple

from queuectl import liveness, lookup, units
from queuectl.dashboard.counter import Counter
from queuectl.layout import LATER
from queuectl.spool import Spool

#: Buckets of the plots, and their seconds: the last hour by the minute, the last day by the quarter of an hour.
HOUR, DAY = (60, 60), (96, 900)


class Options(NamedTuple):
    """How the dashboard was started. `names`: other names that it has, such as that of a proxy."""

    host: str = "127.0.0.1"
    port: int = 8080
    allow_actions: bool = False
    password: bytes | None = None
    names: tuple[str, ...] = ()


class Desk:
    """One for each server. `token` is what forms must bring back; `closing` is True when streams should end."""

    def __init__(self, spool: Spool, options: Options, counter: Counter) -> None:
        self.spool, self.options, self.counter = spool, options, counter
        self.observer = liveness.Observer(spool)
        self.token = secrets.token_urlsafe(24)
        self.closing = False

    def workers(self) -> list[dict[str, Any]]:
        """Everybody who works here, now."""
        return lookup.workers(self.spool, self.observer)

    def status(self) -> dict[str, Any]:
        """As `status --json`; the counts are those of the last report, null before the first."""
        report = self.counter.report
        oldest = report["oldest"]
        return {
            "spool": self.spool.path,
            "jobs": report["jobs"],
            "scheduled": report["scheduled"],
            "oldest_ready_seconds": None
            if oldest is None
            else round(max(0.0, self.spool.now() - oldest), 3),
            "paused": self.spool.is_paused(),
            "workers": self.workers(),
            "counted_at": units.iso(report["at"]),
        }

    def states(self) -> list[tuple[str, int | None]]:
        """The states to show with their counts: those that most spools never have only when they are used."""
        return [
            (state, count)
            for state, count in self.counter.report["jobs"].items()
            if count or state not in (*LATER, "rejected")
        ]


class Bucket(NamedTuple):
    """What ended in one stretch of time: how many of each state, and the median and 95th percentile of a sample of run times."""

    at: float
    completed: int
    dead: int
    median: float | None
    high: float | None


def buckets(report: dict[str, Any], now: float, count: int, width: int) -> list[Bucket]:
    """The last `count` stretches of `width` seconds, oldest first, of what the report says by the minute."""
    first = (int(now) // width - count + 1) * width
    ends, durations = report["ends"], report["durations"]
    found = []
    for start in range(first, first + count * width, width):
        minutes = [
            time.strftime("%Y%m%dT%H%M", time.gmtime(at)) for at in range(start, start + width, 60)
        ]
        sample = sorted(took for minute in minutes for took in durations.get(minute, ()))
        completed, dead = (
            sum(ends[state].get(minute, 0) for minute in minutes) for state in ("completed", "dead")
        )
        found.append(Bucket(start, completed, dead, _rank(sample, 0.5), _rank(sample, 0.95)))
    return found


def _rank(sample: list[float], part: float) -> float | None:
    return sample[min(len(sample) - 1, int(part * len(sample)))] if sample else None
