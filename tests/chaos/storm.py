"""The storm: one chaos run from its first job to its audit, and the table that it ends with.

Promises
    Whatever happens, also Ctrl+C, ends with every process ended and the disk unmounted.
    What failed stays on disk for a person to look at, and `Report.evidence` says where.
Leaves to others
    jobs (producer), processes (fleet), hits (mishaps), the disk (arena), the verdict (audit).
Raises
    whatever one of them raises.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.arena import Arena
from tests.chaos.audit import Findings, audit
from tests.chaos.fleet import Fleet
from tests.chaos.mishaps import Mishaps
from tests.chaos.producer import Producer

#: Seconds between two looks of the driver.
TICK = 0.05

#: Seconds between two mishaps, on average.
CALM = 0.25

#: Seconds between two spells of a full disk, and how long one lasts.
ROOM, SPELL = (15.0, 30.0), (2.0, 5.0)

#: Seconds until everything that was accepted must have ended.
DRAIN = 120.0

#: Seconds between two lines that say how it goes.
NEWS = 30.0


@dataclass
class Report:
    """How a run went: `table` is Markdown."""

    findings: Findings
    kills: int
    table: str
    evidence: Path | None

    @property
    def has_failed(self) -> bool:
        """Whether anything is not as promised."""
        return any(self.findings.failures.values())


class Storm:
    """A run of `seconds`, on a disk of `megabytes` (0: no disk of its own); `say` hears how it goes."""

    def __init__(
        self, seconds: float, seed: int, megabytes: int, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.seconds, self.seed, self.megabytes, self.say = seconds, seed, megabytes, say
        self.dice = random.Random(seed)
        self.spells = 0
        self._full_until = 0.0

    def run(self) -> Report:
        """Rage, let everything drain, and judge."""
        with Arena(self.megabytes) as self.arena:
            try:
                report = self._run()
            except Exception:
                self.say(f"everything is kept in {self.arena.keep()}")
                raise
            if report.has_failed:
                report.evidence = self.arena.keep()
            return report

    def _run(self) -> Report:
        self.fleet = Fleet(self.arena)
        self.producer = Producer(self.arena, self.dice)
        self.mishaps = Mishaps(self.fleet, self.producer, self.dice)
        try:
            self._rage()
            self._calm()
            self._drain()
            self.fleet.stop()
        finally:
            self._calm()
            self.fleet.end()
        found = audit(self.fleet, self.producer, self.mishaps.cancelled)
        return Report(found, self.mishaps.kills, self._table(found), None)

    # -- the weather

    def _rage(self) -> None:
        begun = time.monotonic()
        mishap, spell, news = begun, begun + self.dice.uniform(*ROOM), begun + NEWS
        while (now := time.monotonic()) < begun + self.seconds:
            self.fleet.keep_up()
            self.mishaps.thaw()
            self.producer.feed()
            if now >= mishap:
                mishap = now + self.dice.expovariate(1 / CALM)
                self.mishaps.strike()
            if now >= spell:
                spell = self._disk()
            if now >= news:
                news = now + NEWS
                self.say(
                    f"{now - begun:.0f} s: {len(self.producer.accepted)} jobs accepted, {self.mishaps.kills} kills, {self.spells} spells"
                )
            _pause()

    def _disk(self) -> float:
        """Begin, keep up or end a spell of a full disk: when to come again."""
        now = time.monotonic()
        if self.arena.why_not:
            return now + self.seconds
        if not self._full_until:
            self.spells += 1
            self._full_until = now + self.dice.uniform(*SPELL)
        if now < self._full_until:
            self.arena.fill()
            return now + TICK
        self._full_until = 0.0
        self.arena.free()
        return now + self.dice.uniform(*ROOM)

    def _calm(self) -> None:
        """No mishaps any more: all go on, and there is room."""
        self.mishaps.thaw(all=True)
        self.arena.free()
        self.producer.close()

    def _drain(self) -> None:
        """Let everything end that was accepted; what does not in time is found by the audit."""
        deadline = time.monotonic() + DRAIN
        while time.monotonic() < deadline and self._unfinished():
            self.fleet.keep_up()
            _pause()

    def _unfinished(self) -> int:
        return sum(self.fleet.spool.count(state) for state in ("pending", "failed", "processing"))

    # -- what it ends with

    def _table(self, found: Findings) -> str:
        """The Markdown table of the run."""
        tally, stops = self.mishaps.tally, self.mishaps.stops
        kinds = ", ".join(f"{count} {kind}" for kind, count in tally.most_common())
        spells = f"skipped: {self.arena.why_not}" if self.arena.why_not else str(self.spells)
        must_not = [
            "lost",
            "in two places",
            "not ended",
            "damaged",
            "completed without a run",
            "attempts not counted",
        ]
        must_not += [
            "attempts that began twice",
            "runs beside another",
            "cancelled, but not dead",
            "tracebacks",
        ]
        rows = [
            (
                "seconds of chaos (seed, CPUs)",
                f"{self.seconds:.0f} ({self.seed}, {os.cpu_count()})",
            ),
            ("jobs accepted", found.accepted),
            ("completed", found.places["completed"]),
            ("dead", found.places["dead"]),
            (
                "of these cancelled (answered cancelled / asked)",
                f"{found.cancelled} ({len(self.mishaps.cancelled)} / {len(self.mishaps.asked)})",
            ),
            *((f"**{what}** (must be 0)", len(found.failures[what])) for what in must_not),
            ("runs", found.runs),
            ("jobs run again (allowed)", found.again),
            ("runs lost with their worker", found.lost_runs),
            ("enqueues that said no, or were killed", len(self.producer.refusals)),
            ("jobs there that were never acknowledged (allowed)", found.unasked),
            (
                "torn result lines / ended jobs without a record",
                f"{found.torn} / {found.recordless}",
            ),
            ("left in workers/, processing/ and tmp/ after an orderly stop", len(found.leftovers)),
            ("workers and supervisors that died unkilled", found.own_deaths.total()),
            ("**kills survived**", self.mishaps.kills),
            ("by kind", kinds),
            (
                "stopped past the lease",
                ", ".join(f"{count} {kind}" for kind, count in stops.items()) or 0,
            ),
            ("supervisors started", self.fleet.started),
            ("disk-full spells", spells),
        ]
        return "\n".join(
            ["| what | how many |", "|---|---|", *(f"| {what} | {count} |" for what, count in rows)]
        )


def _pause() -> None:
    threading.Event().wait(TICK)
