"""A guest: one user-mode Linux machine, the commands that run in it, and the lines that it reports.

Promises
    Each command gets an answer, also when the guest dies under it.
    A line that a program of the guest wrote to /dev/ttyS0 to S3 and that left the guest before its power was cut is in
    `reports` once `kill` has returned; a line that the cut tore is not.
Leaves to others
    disks, network, who is alive at the driver's death (lab, reaper); how the guest does it (guest_init).
Raises
    GuestFailed for a command that fails, or that never answers.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import os
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Seconds until a guest must have booted.
BOOT = 120

#: Seconds that the way of an answer may take, on top of what its command may.
SLACK = 30

#: Bytes that the guest's terminal takes at once, and seconds for it to swallow them.
PIECE, SWALLOW = 512, 0.005

#: Lines that a guest's programs may report on: /dev/ttyS0 to S3.
LINES = 4

#: How many times the clocks are compared; the quickest answer counts.
GLANCES = 7


class GuestFailed(Exception):
    """A command in a guest failed, or the guest did."""


@dataclass(frozen=True)
class Answer:
    """How a command went. `code` -1: the guest died under it."""

    code: int
    out: str
    seconds: float = 0.0


DIED = Answer(-1, "[the guest died]")


class Pending:
    """A command that runs in a guest; `join` waits for its answer."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()

    def settle(self, answer: Answer) -> None:
        """It ended."""
        self._answers.put(answer)

    def is_settled(self) -> bool:
        """Whether it has ended, and nobody has asked how it went."""
        return not self._answers.empty()

    def join(self) -> Answer:
        """How it went."""
        try:
            return self._answers.get(timeout=self._patience)
        except queue.Empty:
            raise GuestFailed(f"no answer for {self._patience} s") from None


@dataclass
class Guest:
    """A machine that is being started by `words` (its kernel and its words); what its console says goes to the file `log`."""

    name: str
    words: list[str]
    environment: dict[str, str]
    log: Path
    reports: list[list[str]] = field(default_factory=lambda: [[] for _ in range(LINES)])

    def __post_init__(self) -> None:
        self._ids = itertools.count()
        self._pending: dict[int | str, Pending] = {"hello": Pending(BOOT)}
        self._hello = self._pending["hello"]
        self._is_dead = False
        self._lock = threading.Lock()
        ends = [os.pipe() for _ in range(LINES)]
        lines = [f"ssl{number}=null,fd:{writer}" for number, (_, writer) in enumerate(ends)]
        self.process = subprocess.Popen(
            [*self.words, *lines],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            pass_fds=[writer for _, writer in ends],
            start_new_session=True,
        )
        for _, writer in ends:
            os.close(writer)
        assert self.process.stdin
        assert self.process.stdout
        self._keyboard, self._console = self.process.stdin, self.process.stdout
        listeners = [
            threading.Thread(target=self._listen, args=(reader, self.reports[n]))
            for n, (reader, _) in enumerate(ends)
        ]
        self._threads = [threading.Thread(target=self._read), *listeners]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    # -- what comes out of it

    def _read(self) -> None:
        with self._console as console, self.log.open("ab", buffering=0) as log:
            for line in console:
                _, found, text = line.partition(b"@@LAB ")
                try:
                    message = json.loads(base64.b64decode(text)) if found else None
                except (binascii.Error, ValueError):
                    message = None  # the power went in the middle of it
                if message is None:
                    log.write(line)
                elif pending := self._pending.pop(message.pop("id"), None):
                    pending.settle(Answer(**message))
        with self._lock:
            self._is_dead = True
            for pending in self._pending.values():
                pending.settle(DIED)

    @staticmethod
    def _listen(reader: int, lines: list[str]) -> None:
        with open(reader, "rb") as stream:
            lines.extend(
                line.decode(errors="replace").rstrip() for line in stream if line.endswith(b"\n")
            )

    @staticmethod
    def line(number: int) -> str:
        """Where its programs write what they report on line `number`."""
        return f"/dev/ttyS{number}"

    def forget(self) -> None:
        """Forget what was reported: something new begins."""
        for lines in self.reports:
            lines.clear()

    # -- what it is asked

    def _ask(self, do: str, patience: float, **details: Any) -> Pending:
        pending, id = Pending(patience + SLACK), next(self._ids)
        with self._lock:
            if self._is_dead:
                pending.settle(DIED)
                return pending
            self._pending[id] = pending
            data = base64.b64encode(json.dumps({"id": id, "do": do, **details}).encode()) + b"\n"
            try:
                for start in range(0, len(data), PIECE):
                    self._keyboard.write(data[start : start + PIECE])
                    self._keyboard.flush()
                    if start:
                        threading.Event().wait(SWALLOW)
            except BrokenPipeError:
                pass  # its death settles it
        return pending

    def booted(self) -> None:
        """Wait until it has."""
        if self._hello.join() is DIED:
            raise GuestFailed(
                f"{self.name} did not boot: {self.log.read_text(errors='replace')[-2000:]}"
            )

    def start(self, command: str, timeout: float = 300) -> Pending:
        """Start a shell command."""
        return self._ask("run", timeout, command=command, timeout=timeout)

    def run(self, command: str, timeout: float = 300) -> str:
        """Run a shell command that must succeed: what it printed."""
        answer = self.start(command, timeout).join()
        if answer.code:
            raise GuestFailed(f"{self.name}: {command!r}: exit {answer.code}\n{answer.out}")
        return answer.out

    # -- its clock

    def skew(self) -> float:
        """Seconds by which its clock is ahead of ours."""
        glances = []
        for _ in range(GLANCES):
            before = time.time()
            theirs = float(self._ask("time", SLACK).join().out)
            after = time.time()
            glances.append((after - before, theirs - (before + after) / 2))
        return min(glances)[1]

    def set_skew(self, seconds: float = 0.0) -> float:
        """Put its clock ahead of ours by so much: by how much it is."""
        self._ask("adjust", SLACK, seconds=seconds - self.skew()).join()
        return self.skew()

    # -- its end

    def kill(self) -> None:
        """Cut its power: what it has not written to its disk is gone."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._bury()

    def power_off(self) -> None:
        """Let it sync its disk and end."""
        self._ask("poweroff", 0)
        try:
            self.process.wait(SLACK)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def _bury(self) -> None:
        self.process.wait()
        for thread in self._threads:
            thread.join()
        try:
            self._keyboard.close()
        except BrokenPipeError:
            pass
