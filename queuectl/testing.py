"""Testing programs that enqueue: a spool whose jobs run when the test says so, by real workers in a process of their own.

Promises
    Nothing of it runs on after `drain` has returned or raised.
    Retries do not wait for their backoff, so that a test does not either.
Leaves to others
    a new directory for each test (pytest_plugin, or the test itself).
Raises
    AssertionError with what the workers logged, or with the dead letters; never an error of a job.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import IO

from queuectl.api import Result, Spool
from queuectl.layout import ENDED

#: Seconds between two looks at whether the workers have anything left to do now.
PAUSE = 0.02

#: Seconds before its time at which a job counts as due: one that was woken by the end of another is due in a moment.
SOON = 0.05

#: Seconds that commands have after TERM, once a drain took too long.
GRACE = 2

#: Seconds that workers may take to end besides.
STOP_PATIENCE = 20.0

#: Characters of a log that a failure shows.
LONGEST_LOG = 4000


class SpoolUnderTest(Spool):
    """A spool with workers on demand."""

    def drain(
        self,
        *,
        count: int = 1,
        timeout: float = 60.0,
        fail_on_dead: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> list[Result]:
        """Run what is due, and what becomes due by that, with `count` workers; how each job that ended by this did.

        Jobs that are delayed stay where they are. AssertionError if that takes longer than `timeout` seconds, or with
        `fail_on_dead` if a job is dead at the end. `settings` are those of these workers, as in `worker start --set`.
        """
        __tracebackhide__ = True
        before = self._ended()
        if self._is_due():
            with tempfile.TemporaryFile() as log:
                self._run(
                    log,
                    count,
                    timeout,
                    {"backoff_max": 0, "shutdown_grace": GRACE, **(settings or {})},
                )
        results = self.wait_all(sorted(self._ended() - before))
        dead = [result for result in results if result.state == "dead"]
        if fail_on_dead and dead:
            raise AssertionError(
                "\n".join(
                    f"job {job.id} is dead: {job.reason}\n{job.stderr_tail}".rstrip()
                    for job in dead
                )
            )
        return results

    def _run(
        self, log: IO[bytes], count: int, timeout: float, settings: Mapping[str, object]
    ) -> None:
        __tracebackhide__ = True
        words = ["worker", "start", "--drain", "--count", str(count)]
        for name, value in settings.items():
            words += ["--set", f"{name}={value}"]
        env = {
            name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "queuectl", "--spool", self.path, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
        )
        try:
            in_time = self._watch(process, time.monotonic() + timeout)
        finally:
            _end(process)
        if not in_time or process.returncode not in (0, -signal.SIGTERM):
            log.seek(0)
            said = log.read().decode(errors="replace")[-LONGEST_LOG:]
            what = f"exit code {process.returncode}" if in_time else f"not done after {timeout:g} s"
            raise AssertionError(f"draining {self.path}: {what}; the workers said:\n{said}")

    def _watch(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Wait until the workers are done with what is due. False: not in time."""
        while process.poll() is None:
            if time.monotonic() > deadline:
                return False
            if not self._is_due():
                process.send_signal(
                    signal.SIGTERM
                )  # what is left is delayed: nobody waits for that
                process.wait(STOP_PATIENCE)
            time.sleep(PAUSE)
        return True

    def _is_due(self) -> bool:
        # RACE: a job may go from processing/ to failed/ between two looks; so the waiting ones are looked at twice.
        return self._waits() or bool(self.count("processing")) or self._waits()

    def _waits(self) -> bool:
        if self.drops() or self.submissions():
            return True
        soon = self.now() + SOON
        return any(
            entry.name.time <= soon
            for state in ("pending", "failed")
            for entry in self.entries(state)
        )

    def _ended(self) -> set[str]:
        """The ids of the jobs that have ended."""
        return {entry.name.id for state in ENDED for entry in self.entries(state)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the workers and what they run, if they still run."""
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(GRACE + STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
