"""The fleet: the supervisors of a chaos run, and every process that came of them.

A process is ours if its environment names our spool, which no other has; whatever is
signalled is looked at again after it was pinned by a pidfd, so that a process id that
was used again never gets a stranger killed.

Promises
    A supervisor that died is started again.
    `end` leaves none of our processes behind, also those that were frozen or orphaned.
Leaves to others
    who is hit, and when (mishaps).
Raises
    AssertionError if a process outlives KILL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from queuectl import Spool, disk, liveness, processes
from tests.chaos.arena import Arena
from tests.support import environment, until

#: Supervisors, and the workers of each.
SUPERVISORS, WORKERS = 2, 2

#: Short, so that every lease, retry and grace is over many times in one run.
SETTINGS = {
    "QUEUECTL_HEARTBEAT_INTERVAL": "0.5",
    "QUEUECTL_WORKER_LOST_AFTER": "1.5",
    "QUEUECTL_SHUTDOWN_GRACE": "0.3",
    "QUEUECTL_BACKOFF_BASE": "1",
    "QUEUECTL_BACKOFF_MAX": "0.3",
    "QUEUECTL_POLL_INTERVAL": "0.5",
    "QUEUECTL_MAX_RETRIES": "5",
}

#: Seconds for supervisors that were told to stop.
PATIENCE = 30


class Fleet:
    """The supervisors on the spool of `arena`."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.spool = Spool(arena.spool).make()
        self.mark = b"QUEUECTL_SPOOL=" + os.fsencode(arena.spool)
        self.running: list[subprocess.Popen[bytes]] = []
        self.started = 0
        self.own_ends: list[str] = []

    def keep_up(self) -> None:
        """Collect the supervisors that died and start others."""
        for supervisor in [
            supervisor for supervisor in self.running if supervisor.poll() is not None
        ]:
            self.running.remove(supervisor)
            if supervisor.returncode != -signal.SIGKILL:
                self.own_ends.append(f"a supervisor ended: exit {supervisor.returncode}")
        while len(self.running) < SUPERVISORS:
            self.started += 1
            self.running.append(self._start())

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.arena.logs / f"supervisor-{self.started:05}.log").open("wb") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "queuectl",
                    "worker",
                    "start",
                    "--count",
                    str(WORKERS),
                    "--log-format",
                    "json",
                ],
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=environment(self.arena.spool, **SETTINGS),
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop the supervisors in order."""
        for supervisor in self.running:
            supervisor.send_signal(signal.SIGTERM)
        for supervisor in self.running:
            supervisor.wait(PATIENCE)

    def end(self) -> None:
        """End everything of ours, whatever state it is in."""
        for supervisor in self.running:
            supervisor.kill()
        for supervisor in self.running:
            supervisor.wait(PATIENCE)
        for name in liveness.names(self.spool):
            processes.end_all(name, 0)
        until(self._is_gone)

    def _is_gone(self) -> bool:
        left = [pid for pids in self.sighted().values() for pid in pids]
        for pid in left:
            self.strike(pid, signal.SIGKILL)
        return not left

    # -- who is there

    def sighted(self) -> dict[str, list[int]]:
        """The process ids of all that is ours, by what it is."""
        found: dict[str, list[int]] = {}
        workers = self._workers()
        if sys.platform != "linux":
            commands = [pid for name in workers.values() for pid in processes.of_worker(name)]
            return {
                "supervisors": [s.pid for s in self.running if s.poll() is None],
                "workers": list(workers),
                "commands": commands,
            }
        for name in os.listdir("/proc"):
            kind = self._kind(name, workers) if name.isdigit() else None
            if kind:
                found.setdefault(kind, []).append(int(name))
        return found

    def _workers(self) -> dict[int, str]:
        """The workers that live, by process id."""
        records = [liveness.read(self.spool, name) for name in liveness.names(self.spool)]
        return {
            r.pid: r.worker
            for r in records
            if r and disk.is_held(self.spool.at("workers", r.worker + ".lock"))
        }

    def _kind(self, pid: str, workers: dict[int, str]) -> str | None:
        variables, status = processes._environment(pid), processes._status(pid)
        if self.mark not in variables or not status:
            return None
        if any(variable.startswith(b"QUEUECTL_WORKER=") for variable in variables):
            return "commands"
        if int(pid) in [supervisor.pid for supervisor in self.running]:
            return "supervisors"
        if int(pid) in workers:
            return "workers"
        if int(status[1]) == os.getpid():
            return "enqueues"
        # Only the watch has threads; what else a supervisor forks is a flusher or a worker without a name yet.
        return "watches" if int(status[17]) > 1 else "flushers and newborn"

    def family(self, pid: int) -> list[int]:
        """A supervisor and its children."""
        if sys.platform != "linux":
            return [pid]
        everybody = [other for pids in self.sighted().values() for other in pids]
        return [
            pid,
            *(
                other
                for other in everybody
                if (status := processes._status(str(other))) and int(status[1]) == pid
            ),
        ]

    def strike(self, pid: int, number: signal.Signals) -> bool:
        """Signal one of ours. False: it has ended."""
        if sys.platform != "linux":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                return True
            return False
        try:
            pinned = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if self.mark not in processes._environment(str(pid)):
                return False
            signal.pidfd_send_signal(pinned, number)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(pinned)

    def logs(self) -> list[Path]:
        """What the supervisors logged, oldest first."""
        return sorted(self.arena.logs.glob("supervisor-*.log"))
