"""The producer: brings jobs in by the library, by the command and by dropping files, and remembers who said yes.

Promises
    A job is accepted from the moment on which it is acknowledged: enqueue returned its id, the
    command printed it, or the rename into pending/ and its directory are synced.
    It never lets more than BACKLOG jobs wait.
Leaves to others
    what the jobs do (recipes), what became of them (audit).
Raises
    what queuectl raises and should not: anything but OSError and SpoolUnusable.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from typing import NamedTuple

from queuectl import Spool, disk
from queuectl.errors import SpoolUnusable
from queuectl.filename import Name, encode
from tests.chaos.arena import Ground
from tests.chaos.recipes import Cook, Record
from tests.support import environment

#: Jobs that may wait; more are not brought in.
BACKLOG = 40

#: Seconds for a command that brings jobs in.
PATIENCE = 30


class Accepted(NamedTuple):
    """What was acknowledged: the command, and the bytes of the file where we wrote it ourselves."""

    command: str
    data: bytes | None


class Producer:
    """Brings jobs into the spool of `arena`; `series` is how the ids that it chooses begin."""

    def __init__(self, arena: Ground, dice: random.Random, series: str = "chaos") -> None:
        self._arena, self._dice = arena, dice
        self._spool = Spool(arena.spool)
        self._cook = Cook(arena, dice, series)
        self._ways = [
            self._by_library,
            self._by_library,
            self._by_command,
            self._by_drop,
            self._by_drop,
        ]
        self._command: tuple[subprocess.Popen[bytes], list[Record]] | None = None
        self.accepted: dict[str, Accepted] = {}
        self.refusals: list[str] = []

    def feed(self) -> None:
        """Bring in a few jobs, if not too many wait."""
        self._collect()
        if self._waiting() < BACKLOG:
            self._dice.choice(self._ways)()

    def close(self) -> None:
        """Wait for the command that is still at it."""
        if self._command:
            self._command[0].wait(PATIENCE)
            self._collect()

    def _waiting(self) -> int:
        return sum(len(os.listdir(self._spool.at(state))) for state in ("pending", "failed"))

    def _jobs(self) -> list[Record]:
        return [
            self._cook.job(named=self._dice.random() < 0.5) for _ in range(self._dice.randint(1, 6))
        ]

    def _accept(self, way: str, id: str, accepted: Accepted) -> None:
        """A job was acknowledged to one who brought it in this way."""
        self.accepted[id] = accepted

    def _refused(self, why: object) -> None:
        self.refusals.append(str(why))

    # -- three ways in

    def _by_library(self) -> None:
        jobs = self._jobs()
        try:
            ids = self._spool.enqueue_all(jobs)
        except (OSError, SpoolUnusable) as error:
            self._refused(error)
            return
        for id, job in zip(ids, jobs, strict=True):
            self._accept("library", id, Accepted(job["command"], None))

    def _by_command(self) -> None:
        if self._command:
            return
        jobs, lines = self._jobs(), self._arena.home / "lines.jsonl"
        lines.write_text("".join(json.dumps(job) + "\n" for job in jobs))
        started = subprocess.Popen(
            [sys.executable, "-m", "queuectl", "enqueue", "--file", str(lines)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(self._arena.spool),
            start_new_session=True,
        )
        self._command = started, jobs

    def _collect(self) -> None:
        if not self._command or self._command[0].poll() is None:
            return
        (process, jobs), self._command = self._command, None
        printed, complaint = process.communicate()
        ids = [line.decode() for line in printed.splitlines(keepends=True) if line.endswith(b"\n")]
        # An id that was printed is a promise, also if the command was killed right behind it.
        for id, job in zip(ids, jobs, strict=False):
            self._accept("command", id.strip(), Accepted(job["command"], None))
        if process.returncode:
            self._refused(f"exit {process.returncode}: {complaint.decode(errors='replace')}")

    def _by_drop(self) -> None:
        job = self._cook.job(named=True)
        id, data = job["id"], json.dumps(job).encode()
        name = f"{id}.json"
        if self._dice.random() < 0.3 and "delay" not in job:
            name = encode(Name(time.time(), job["priority"], 0, id))
        hidden = self._spool.at("pending", f".{id}.tmp")
        try:
            disk.write(hidden, data)
            os.rename(hidden, self._spool.at("pending", name))
            disk.sync(self._spool.at("pending"))
        except OSError as error:
            self._refused(error)
            return
        self._accept("drop", id, Accepted(job["command"], data))
