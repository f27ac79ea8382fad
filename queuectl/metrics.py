"""Metrics for Prometheus, by the official client.

What is now is counted (census). What has happened is added up from the events: `events/totals.json`
holds the sums and how far the files of events were read, as one pair, so that sums never fall,
whoever asks, and also when old events are pruned. Without events there are no sums.

`queuectl_scan_seconds` is what reading the names took us, and not a supervisor, which reads the same ones.

Promises
    Two who ask at once both get right sums.
Leaves to others
    counting (census), telling (events), who is alive (liveness).
Raises
    QueuectlError without the package; OSError from the disk.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from queuectl import disk, events
from queuectl.errors import InvalidJob, QueuectlError
from queuectl.spool import Spool
from queuectl.strict import load

#: The content type of the text.
TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: The sums, beside the events.
TOTALS = "totals.json"

#: Bytes of the largest file of sums that is read.
LARGEST = 1024 * 1024

#: Upper ends of the buckets of histograms, in seconds.
BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)

#: The same for a claim, which is one rename.
CLAIM_BUCKETS = (
    0.00001,
    0.00002,
    0.00005,
    0.0001,
    0.0005,
    0.001,
    0.005,
    0.01,
    0.05,
    0.1,
    0.5,
    1,
    5,
)

#: Histograms: the field of an event, the upper ends, and what is said of them.
HISTOGRAMS = {
    "run": ("duration", BUCKETS, "Seconds that runs took."),
    "wait": ("waited", BUCKETS, "Seconds from when a job became due to its claim."),
    "claim": ("took", CLAIM_BUCKETS, "Seconds that claims took, each one rename."),
}

#: Events that are only counted, and what they are called.
COUNTED = {
    "enqueued": ("queuectl_enqueued", "Jobs that were enqueued."),
    "admitted": ("queuectl_admitted", "Dropped files that became jobs."),
    "rejected": ("queuectl_rejected", "Dropped files that were set aside."),
    "rescued": ("queuectl_rescued", "Jobs that were moved on from a dead worker."),
    "lost_claim": (
        "queuectl_lost_claims",
        "Runs whose job was rescued by others while they went on.",
    ),
    "released": (
        "queuectl_released",
        "Claimed jobs that were given back because their worker had to stop.",
    ),
    "removed": ("queuectl_removed", "Jobs that were removed or pruned."),
}

#: Events that tell of the end of a run.
ENDS = ("completed", "failed", "dead", "rescued")


class Totals:
    """The sums of all events, and how far they were read."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self.outcomes: dict[str, int] = dict.fromkeys(
            ("completed", "failed", "timeout", "lost", "cancelled"), 0
        )
        self.histograms = {name: Histogram(ends) for name, (_, ends, _) in HISTOGRAMS.items()}

    def add(self, event: dict[str, Any]) -> None:
        """Add one event."""
        what = str(event.get("event"))
        if what in self.counts:
            self.counts[what] += 1
        if what in ENDS and isinstance(outcome := event.get("outcome"), str):
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        for name, (key, _, _) in HISTOGRAMS.items():
            if isinstance(value := event.get(key), int | float):
                self.histograms[name].add(value)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain = {
            name: {"counts": found.counts, "sum": found.sum}
            for name, found in self.histograms.items()
        }
        return {"places": self.places, "counts": self.counts, "outcomes": self.outcomes, **plain}

    @classmethod
    def from_dict(cls, record: Any) -> Totals:
        """From JSON; TypeError, KeyError or ValueError if it is not that."""
        found = cls()
        found.places = {str(name): int(at) for name, at in record["places"].items()}
        found.counts |= {
            name: int(count) for name, count in record["counts"].items() if name in COUNTED
        }
        found.outcomes |= {str(name): int(count) for name, count in record["outcomes"].items()}
        for name, histogram in found.histograms.items():
            if name not in record:
                continue  # of before it was measured
            counts = [int(count) for count in record[name]["counts"]]
            if len(counts) != len(histogram.counts):
                raise ValueError("other buckets")
            histogram.counts, histogram.sum = counts, float(record[name]["sum"])
        return found


class Histogram:
    """Counts by the upper ends of buckets; the last is for what is larger than all of them."""

    def __init__(self, ends: Sequence[float]) -> None:
        self._ends, self.counts, self.sum = ends, [0] * (len(ends) + 1), 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect.bisect_left(self._ends, value)] += 1
        self.sum += max(0.0, value)

    def cumulative(self) -> list[tuple[str, float]]:
        """As the client wants it."""
        found, count = [], 0
        for end, more in zip([*map(str, map(float, self._ends)), "+Inf"], self.counts, strict=True):
            count += more
            found.append((end, float(count)))
        return found


def totals(spool: Spool) -> Totals | None:
    """The sums up to now, which are kept for the next who asks; None where there never were events."""
    directory = spool.at("events")
    if not disk.size(directory):
        return None
    found = _kept(spool)
    before = dict(found.places)
    for event in events.read(directory, found.places):
        found.add(event)
    if found.places != before:
        try:
            temporary = spool.temporary()
            disk.write(temporary, json.dumps(found.to_dict()).encode() + b"\n", durable=False)
            # RACE: another who asks puts older sums here; they are right, too, for the places they name.
            disk.replace(temporary, spool.at("events", TOTALS))
        except OSError:
            pass  # not ours to write, or full: the next who asks adds up again
    return found


def _kept(spool: Spool) -> Totals:
    try:
        return Totals.from_dict(load(disk.read(spool.at("events", TOTALS), LARGEST).data))
    except (OSError, InvalidJob, TypeError, KeyError, ValueError, AttributeError):
        return Totals()


def text(spool: Spool, report: dict[str, Any], workers: list[dict[str, Any]]) -> bytes:
    """All metrics in the text format; `report` is that of a census."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.registry import Collector
    except ImportError:
        raise QueuectlError(
            "metrics need the package prometheus_client; pip install 'queuectl[web]'"
        ) from None

    class _Ours(Collector):
        def collect(self) -> Iterable[Any]:
            yield from _now(spool, report, workers)
            if (found := totals(spool)) is not None:
                yield from _sums(found)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ours())
    return generate_latest(registry)


def _now(spool: Spool, report: dict[str, Any], workers: list[dict[str, Any]]) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily as Gauge

    jobs = Gauge("queuectl_jobs", "Jobs by state.", labels=["state"])
    for state, count in report["jobs"].items():
        if count is not None:
            jobs.add_metric([state], count)
    yield jobs
    oldest = report["oldest"]
    waits = 0.0 if oldest is None else max(0.0, spool.now() - oldest)
    yield Gauge(
        "queuectl_oldest_ready_seconds",
        "Seconds for which the oldest ready job has waited; 0 if none is ready.",
        value=waits,
    )
    yield Gauge(
        "queuectl_scheduled_jobs", "Jobs that wait for their time.", value=report["scheduled"]
    )
    yield Gauge("queuectl_paused", "Whether the spool is paused.", value=float(spool.is_paused()))
    alive = [worker for worker in workers if worker["alive"]]
    yield Gauge("queuectl_workers_alive", "Workers that are alive, on all hosts.", value=len(alive))
    yield Gauge(
        "queuectl_workers_dead",
        "Workers that have died and wait for their rescue.",
        value=len(workers) - len(alive),
    )
    yield Gauge(
        "queuectl_workers_busy",
        "Workers that run a job.",
        value=sum(worker["job"] is not None for worker in alive),
    )
    scans = Gauge(
        "queuectl_scan_seconds",
        "Seconds that reading the names of a state took whoever made these metrics.",
        labels=["state"],
    )
    for state, took in report["took"].items():
        scans.add_metric([state], took)
    yield scans


def _sums(found: Totals) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily as Counter
    from prometheus_client.core import HistogramMetricFamily

    attempts = Counter("queuectl_attempts", "Runs that ended, by outcome.", labels=["outcome"])
    for outcome, count in found.outcomes.items():
        attempts.add_metric([outcome], count)
    yield attempts
    for event, (name, help) in COUNTED.items():
        yield Counter(name, help, value=found.counts[event])
    for name, (_, _, help) in HISTOGRAMS.items():
        histogram = found.histograms[name]
        yield HistogramMetricFamily(
            f"queuectl_{name}_seconds",
            help,
            buckets=histogram.cumulative(),
            sum_value=histogram.sum,
        )
