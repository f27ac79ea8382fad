"""The load of one round, in the guest: workers run jobs, jobs come in four ways, and both are told to the world outside.

`python -m tests.hosts.load SPOOL SERIES SEED DURABILITY`; it ends with the power.

Promises
    A job is reported as accepted only when whoever brought it in was told so; its run before it does anything else.
Leaves to others
    cutting the power (powercut), what became of the jobs (look).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from queuectl import Spool
from tests.chaos.producer import Accepted, Producer
from tests.support import environment

#: The lines on which a guest reports, by number: acknowledged jobs, runs, runs beside another, the log.
ACCEPTED, RUNS, OVERLAPS, LOG = range(4)

#: Short retries and looks, so that a job's whole life fits between two cuts; all that makes outcomes durable is as it comes.
SETTINGS = {
    "QUEUECTL_BACKOFF_BASE": "1",
    "QUEUECTL_BACKOFF_MAX": "0.3",
    "QUEUECTL_POLL_INTERVAL": "0.5",
    "QUEUECTL_MAX_RETRIES": "5",
}

#: Seconds between two handfuls of jobs.
PAUSE = 0.02

#: What a person would write: whole in tmp/ and on disk, then one rename, and that is on disk. ($SYNC: see powercut)
DROP = """set -e
cat > "$1/tmp/$2"; ${SYNC:-sync} "$1/tmp/$2"
mv "$1/tmp/$2" "$1/pending/$2"; ${SYNC:-sync} "$1/pending"
"""


@dataclass
class Ground:
    """The place of a round: the spool is on the disk, the rest in memory or outside."""

    spool: Path
    home: Path = Path("/tmp/load")
    ledger: Path = Path(f"/dev/ttyS{RUNS}")
    overlaps: Path = Path(f"/dev/ttyS{OVERLAPS}")
    locks: Path = Path("/tmp/load/locks")


class Reporter(Producer):
    """A producer that tells the world outside what was acknowledged to it."""

    def __init__(self, ground: Ground, dice: random.Random, series: str) -> None:
        super().__init__(ground, dice, series)
        self._ways.append(self._by_sh)
        self._line = os.open(f"/dev/ttyS{ACCEPTED}", os.O_WRONLY | os.O_NOCTTY)

    def _accept(self, way: str, id: str, accepted: Accepted) -> None:
        super()._accept(way, id, accepted)
        data = None if accepted.data is None else accepted.data.decode()
        os.write(self._line, json.dumps([way, id, accepted.command, data]).encode() + b"\n")

    def _refused(self, why: object) -> None:
        print(f"refused: {why}", file=sys.stderr, flush=True)

    def _by_sh(self) -> None:
        """A drop by a shell, with the sync of coreutils."""
        job = self._cook.job(named=True)
        id, data = job["id"], json.dumps(job).encode()
        done = subprocess.run(
            ["sh", "-c", DROP, "sh", self._arena.spool, f"{id}.json"],
            input=data,
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            self._refused(done.stderr.decode())
        else:
            self._accept("sh", id, Accepted(job["command"], data))


def main() -> None:
    """Start the workers, and bring jobs in for ever."""
    spool, series, seed, durability = sys.argv[1:]
    ground = Ground(Path(spool))
    ground.locks.mkdir(parents=True)
    Spool(spool).make()
    subprocess.Popen(
        [
            sys.executable,
            "-m",
            "queuectl",
            "worker",
            "start",
            "--count",
            "2",
            "--log-format",
            "json",
        ],
        env=environment(ground.spool, **SETTINGS, QUEUECTL_DURABILITY=durability),
        stdin=subprocess.DEVNULL,
    )
    reporter = Reporter(ground, random.Random(seed), series)
    while True:
        reporter.feed()
        threading.Event().wait(PAUSE)


if __name__ == "__main__":
    main()
