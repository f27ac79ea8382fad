"""`python -m tests.hosts.powercut --cuts 100`: the power of a machine under load is cut, again and again, and no job may be lost.

The machine is a guest of the lab with an ext4 disk of its own. Two workers run jobs on it while jobs come in by the library,
by the command, and as drops of Python and of a shell; what is acknowledged, and what runs, is told to this process at
once. After a random time the guest is killed: what it had in memory is gone, and it boots again on the same disk.

Each time, before anything starts there, every job that was ever acknowledged must be in exactly one place, and those of
this round must be whole. At the end the workers drain the spool and everything is looked at. Exit code 1 if anything is not as promised.

With --unsynced every sync is left out: then it must fail, which shows that it would notice.

What this does not show: drives that lie about their cache. (The guest's device never forgets a write that it took.)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.hosts.guest import Guest
from tests.hosts.lab import DISK, HOME, Lab, obstacle, python
from tests.hosts.load import ACCEPTED, LOG, OVERLAPS, RUNS
from tests.hosts.look import Question
from tests.support import until

#: Seconds of load before a cut, counted from the first job that is acknowledged.
LOAD = (0.3, 4.0)

#: Seconds for the first job of a round, and for all that is left at the end.
PATIENCE, DRAIN = 60, 600

#: What must not happen, in the order of the table.
MUST_NOT = [
    "lost",
    "in two places",
    "damaged",
    "torn or empty, never acknowledged",
    "rejected",
    "not ended",
    "completed without a run",
    "runs beside another",
    "enqueues refused",
    "tracebacks",
]

#: Jobs that were logged as completed or dead before the cut, and are not after it: with durability safe allowed within a second.
UNDONE = "outcomes taken back"

#: Seconds that such a log line may be old: the second that was promised, and some for a machine with one slow core.
OLD = 1.5

#: The spool in the guest.
SPOOL = f"{DISK}/spool"

#: Instead of every sync, for every Python of the guest: put into a folder that comes first.
UNSYNCED = """import os
os.fsync = lambda fd: None
from queuectl import disk
disk.sync_all = lambda path: None
"""


@dataclass
class Told:
    """What the guests told before their power went."""

    accepted: dict[str, list[Any]] = field(default_factory=dict)
    ways: Counter[str] = field(default_factory=Counter)
    runs: list[str] = field(default_factory=list)
    ages: dict[str, float] = field(default_factory=dict)
    garbled: int = 0

    def hear(self, guest: Guest, failures: dict[str, list[str]]) -> Question:
        """Take in what a guest told whose power was cut just now: the question about it."""
        now, self.ages = time.time(), {}
        question = Question()
        for way, id, *promise in self._parsed(guest.reports[ACCEPTED]):
            question.accepted[id] = promise
            self.ways[way] += 1
        for line in guest.reports[RUNS]:
            if re.fullmatch(r"\S+ \d+ \d+", line):
                self.runs.append(line)
            else:
                self.garbled += 1
        for event in self._parsed([line for line in guest.reports[LOG] if line.startswith("{")]):
            if event["event"] in ("completed", "dead"):
                question.ended[event["job"]] = event["event"]
                self.ages[event["job"]] = now - datetime.fromisoformat(event["time"]).timestamp()
        failures["runs beside another"] += guest.reports[OVERLAPS]
        failures["enqueues refused"] += [
            line for line in guest.reports[LOG] if line.startswith("refused: ")
        ]
        failures["tracebacks"] += [line for line in guest.reports[LOG] if "Traceback" in line]
        self.accepted |= question.accepted
        question.known = list(self.accepted)
        return question

    def _parsed(self, lines: list[str]) -> Iterator[Any]:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                self.garbled += 1


@dataclass
class Powercut:
    """A run of so many cuts; `seed` is that of the dice, `durability` that setting, and `unsynced` leaves every sync out."""

    cuts: int
    seed: int
    durability: str = "safe"
    unsynced: bool = False
    told: Told = field(default_factory=Told)
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    boots: set[str] = field(default_factory=set)
    old: int = 0
    loaded: float = 0.0
    last: dict[str, Any] = field(default_factory=dict)
    evidence: Path | None = None

    @property
    def has_failed(self) -> bool:
        """Whether anything is not as promised."""
        return any(self.failures[what] for what in self._must_not())

    def _must_not(self) -> list[str]:
        return MUST_NOT + [UNDONE] * (self.durability == "strict")

    def run(self) -> None:
        """Cut, look, and cut again; then drain and look at everything."""
        self.dice = random.Random(self.seed)
        with Lab("a", nfs=False) as self.lab:
            if self.unsynced:
                (self.lab.directory / "unsynced").mkdir()
                (self.lab.directory / "unsynced" / "sitecustomize.py").write_text(UNSYNCED)
                self.lab.a.run(f"{python()} -m queuectl --spool {SPOOL} init && sync")
            for number in range(1, self.cuts + 1):
                self._cut(number)
                if number % 10 == 0:
                    say(
                        f"{number} cuts, {len(self.told.accepted)} jobs acknowledged, {self._told()}"
                    )
            self._drain()

    def _told(self) -> str:
        return (
            ", ".join(f"{len(cases)} {what}" for what, cases in self.failures.items() if cases)
            or "nothing wrong"
        )

    # -- one round

    def _cut(self, number: int) -> None:
        guest, seconds = self.lab.a, self.dice.uniform(*LOAD)
        self.boots.add(guest.run("cat /proc/sys/kernel/random/boot_id"))
        words = (
            f"{SPOOL} cut-{number:04} {self.dice.random()} {self.durability} > /dev/ttyS{LOG} 2>&1"
        )
        load = guest.start(f"{self._python()} -m tests.hosts.load {words}", timeout=PATIENCE)
        until(lambda: guest.reports[ACCEPTED] or load.is_settled(), PATIENCE)
        threading.Event().wait(seconds)
        guest.kill()
        if load.join().code != -1:
            raise AssertionError(
                f"the load of round {number} ended before its power: {guest.reports[LOG][-5:]}"
            )
        self.loaded += seconds
        question = self.told.hear(guest, self.failures)
        self.lab.boot("a")
        self._look(question, f"after cut {number}")

    def _python(self) -> str:
        return f"env SYNC=true {python(ahead='/mnt/lab/unsynced')}" if self.unsynced else python()

    def _look(self, question: Question, when: str) -> None:
        """Look at the spool; remember what must not be, once for each job."""
        path = self.lab.directory / f"question-{when.replace(' ', '-')}.json"
        path.write_text(json.dumps(dataclasses.asdict(question)))
        self.last = json.loads(
            self.lab.a.run(
                f"{python()} -m tests.hosts.look {SPOOL} /mnt/lab/{path.name}", timeout=DRAIN
            )
        )
        path.unlink()
        self.failures[UNDONE] += [
            f"{id} ({when}, logged {self.told.ages[id]:.2f} s before)" for id in self.last["undone"]
        ]
        self.old += sum(self.told.ages[id] > OLD for id in self.last["undone"])
        wrong = {
            "lost": self.last["lost"],
            "in two places": self.last["doubled"],
            "damaged": self.last["findings"]["failures"].get("damaged", []),
            "torn or empty, never acknowledged": self.last["torn"],
            "rejected": self.last["rejected"],
        }
        for what, cases in wrong.items():
            seen = {case.partition(" ")[0] for case in self.failures[what]}
            self.failures[what] += [
                f"{case} ({when})" for case in cases if case.partition(" ")[0] not in seen
            ]
        if self.has_failed and not self.unsynced and not self.evidence:
            self._keep()

    def _drain(self) -> None:
        """Let everything end, and look at everything."""
        words = f"QUEUECTL_BACKOFF_BASE=1 {python()} -m queuectl --spool {SPOOL} worker start --count 2 --drain --log-format json"
        guest = self.lab.a
        guest.run(f"mkdir -p /tmp/load/locks; {words} 2> /dev/ttyS{LOG}", timeout=DRAIN)
        guest.run("sync")
        guest.kill()
        question = self.told.hear(guest, self.failures)
        question.accepted, question.runs = self.told.accepted, self.told.runs
        self.lab.boot("a")
        self._look(question, "at the end")
        for what in ("not ended", "completed without a run"):
            self.failures[what] += self.last["findings"]["failures"].get(what, [])

    def _keep(self) -> None:
        """Put the disk as it is now aside, for a person to look at."""
        self.evidence = Path(tempfile.mkdtemp(prefix="powercut-", dir=HOME))
        self.lab.a.run("sync")
        shutil.copy(self.lab.directory / "a.img", self.evidence)
        (self.evidence / "told.json").write_text(json.dumps(vars(self.told)))
        (self.evidence / "failures.json").write_text(json.dumps(self.failures))

    # -- what it ends with

    def table(self) -> str:
        """The Markdown table of the run."""
        found = self.last["findings"]
        ways = ", ".join(f"{count} {way}" for way, count in sorted(self.told.ways.items()))
        again = Counter(tuple(line.split()[:2]) for line in self.told.runs)
        rows = [
            ("power cuts (boots, seconds of load, seed, CPUs)", self._setting()),
            ("jobs acknowledged before a cut", len(self.told.accepted)),
            ("by way", ways),
            ("completed", found["places"].get("completed", 0)),
            ("dead", found["places"].get("dead", 0)),
            *((f"**{what}** (must be 0)", len(self.failures[what])) for what in self._must_not()),
            (
                "jobs there whose acknowledgement the cut was quicker than (allowed)",
                self.last["strange"],
            ),
            ("runs", found["runs"]),
            ("runs lost with the power, and rescued", found["lost_runs"]),
            (
                "attempts that the cut took back, so that they began again (allowed)",
                sum(again.values()) - len(again),
            ),
            (
                "outcomes that were logged and taken back (durability safe: allowed within a second)",
                len(self.failures[UNDONE]),
            ),
            (f"of these logged more than {OLD:g} s before the cut", self.old),
            (
                "torn result lines / empty histories / ended jobs without a record (allowed)",
                self._records(),
            ),
            ("left in processing/", self._left("processing/")),
            (
                "left in tmp/ by drops that the cut interrupted (swept after an hour)",
                self._left("tmp/"),
            ),
            ("garbled reports", self.told.garbled),
        ]
        return "\n".join(
            ["| what | how many |", "|---|---|", *(f"| {what} | {count} |" for what, count in rows)]
        )

    def _setting(self) -> str:
        return f"{self.cuts} ({len(self.boots)}, {self.loaded:.0f}, {self.seed}, {os.cpu_count()})"

    def _left(self, where: str) -> int:
        return sum(name.startswith(where) for name in self.last["findings"]["leftovers"])

    def _records(self) -> str:
        found = self.last["findings"]
        return f"{found['torn']} / {self.last['empty']} / {found['recordless']}"


def say(line: str) -> None:
    """A line for the person who waits."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run, print the table, and say what failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hosts.powercut",
        description="Cut the power of a machine under load; count what is lost.",
    )
    parser.add_argument(
        "--cuts", type=int, default=100, help="how many (default: 100); each takes about 6 s"
    )
    parser.add_argument("--seed", type=int, help="seed of the dice (default: another each time)")
    parser.add_argument(
        "--durability",
        choices=["safe", "strict"],
        default="safe",
        help="the setting of the workers (default: safe)",
    )
    parser.add_argument(
        "--unsynced", action="store_true", help="leave every sync out: this must lose jobs"
    )
    words = parser.parse_args()
    if why := obstacle():
        say(why)
        return 2
    cut = Powercut(
        words.cuts,
        random.randrange(1 << 32) if words.seed is None else words.seed,
        words.durability,
        words.unsynced,
    )
    cut.run()
    print(cut.table())
    for what, cases in cut.failures.items():
        for case in cases[:10]:
            say(f"{what}: {case}")
    if cut.evidence:
        say(f"the evidence is in {cut.evidence}")
    return int(cut.has_failed)


if __name__ == "__main__":
    sys.exit(main())
