"""Who works here, and who is alive: the one answer for status, rescue and stop.

A worker first locks `workers/<worker>.lock`, which says its build of queuectl, then writes its record
`workers/<worker>.json`, then makes its directory in processing/. The kernel lets go
of the lock at its death, however it died. The record's mtime is the heartbeat.

Promises
    On the kernel that runs it, a worker is alive exactly while its lock is held.
    If it hangs, its heart stops all the same: then its host may end it (recovery).
    Of another boot, on a file system of one host, it is dead, unless it has beaten since this boot.
    Elsewhere it is alive until its heartbeat has stood still for worker_lost_after, and
    for three heartbeats, by the asker's own clock; clocks of two hosts are never compared.
Leaves to others
    beating (supervisor), what becomes of a dead worker's jobs (recovery).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from queuectl import disk, host
from queuectl.build import build
from queuectl.errors import InvalidJob
from queuectl.spool import Spool
from queuectl.strict import load

#: What the name of a supervisor's file ends in: its record, and the lock it holds while it lives.
SUPERVISOR = ".supervisor"

#: Seconds after which the file of a supervisor on another host, or of an earlier boot, is of no use to anybody.
SWEEP_AGE = 7 * 86400

#: The least lease on a file system of several hosts, in seconds.
LEAST_SHARED = 10.0

#: What the name of a request ends in that stops a supervisor, wherever it is.
STOP = ".stop"

#: Seconds that a worker or a supervisor may take from its lock to its record.
NEWBORN = 60

#: Bytes of the largest worker record that is read.
LARGEST = 65536


class Record(NamedTuple):
    """What a worker says of itself. `pid` and `supervisor_pid` mean something at its place only."""

    worker: str
    host: str
    boot: str
    space: str
    pid: int
    supervisor: str
    supervisor_pid: int
    started_at: float

    @property
    def is_here(self) -> bool:
        """Whether its process ids are ours to use."""
        return (self.host, self.boot, self.space) == host.place()


_KINDS = (str, str, str, str, int, str, int, float | int)


def enroll(spool: Spool, supervisor: str, supervisor_pid: int) -> tuple[Record, int]:
    """Make this process a worker of the spool: its record, and the descriptor that must stay open.

    `supervisor` is "" for a consumer in Python, which nobody supervises.
    """
    place = host.place()
    worker = f"{place.host}-{os.getpid()}-{host.nonce()}"
    record = Record(worker, *place, os.getpid(), supervisor, supervisor_pid, time.time())
    # The order matters: whoever sees the record may trust the lock, whoever sees the directory the record.
    fd = disk.hold(spool.at("workers", worker + ".lock"))
    try:
        # Beside the record: the readers of earlier versions refuse a record with another key.
        disk.put(fd, build().encode() + b"\n")
        disk.write(
            spool.at("workers", worker + ".json"), json.dumps(record._asdict()).encode() + b"\n"
        )
        try:
            disk.make(spool.at("processing", worker))
        except FileNotFoundError:
            spool.restore()  # somebody removed processing/ itself
            disk.make(spool.at("processing", worker))
    except OSError:
        for end in (".json", ".lock"):
            disk.unlink(spool.at("workers", worker + end))
        os.close(fd)
        raise
    return record, fd


def enroll_supervisor(spool: Spool, name: str) -> int:
    """Make this process a supervisor of the spool: the descriptor that must stay open, on `workers/<name>.supervisor`."""
    place = host.place()
    path = spool.at("workers", name + SUPERVISOR)
    spool.restore()  # somebody may have removed workers/
    fd = disk.hold(path)
    record = Record(name, *place, os.getpid(), name, os.getpid(), time.time())
    try:
        disk.append(path, json.dumps(record._asdict()).encode() + b"\n")
    except OSError:
        disk.unlink(path)
        os.close(fd)
        raise
    return fd


def beat_supervisor(spool: Spool, name: str) -> bool:
    """Say that a supervisor is alive. False: somebody has removed its file."""
    return disk.touch(spool.at("workers", name + SUPERVISOR))


def dismiss_supervisor(spool: Spool, name: str) -> None:
    """Remove what a supervisor left of itself."""
    disk.unlink(spool.at("workers", name + STOP))
    disk.unlink(spool.at("workers", name + SUPERVISOR))


def supervisors(spool: Spool) -> list[Record]:
    """The supervisors that live here."""
    found = every_supervisor(spool)
    return [
        who
        for who in found
        if who.is_here and disk.is_held(spool.at("workers", who.worker + SUPERVISOR))
    ]


def every_supervisor(spool: Spool) -> list[Record]:
    """The supervisors that have a file, here and elsewhere, alive or not."""
    names = [
        name.removesuffix(SUPERVISOR)
        for name in disk.scan(spool.at("workers"))
        if name.endswith(SUPERVISOR)
    ]
    return [who for name in sorted(names) if (who := _read(spool, name, SUPERVISOR))]


def is_supervising(spool: Spool, observer: Observer, name: str) -> bool:
    """Whether the supervisor of this name may still run. True when in doubt."""
    path, who = spool.at("workers", name + SUPERVISOR), _read(spool, name, SUPERVISOR)
    if not observer.is_shared and (who is None or who.boot == host.place().boot):
        return bool(disk.is_held(path))
    if who is None or (not observer.is_shared and who.boot and not is_of_this_time(path)):
        return False
    return bool(disk.is_held(path)) if who.is_here else observer.runs(who)


def ask_to_stop(spool: Spool, supervisor: str, *, now: bool) -> None:
    """Ask a supervisor to stop that we cannot signal; it looks at each of its heartbeats.

    A request to stop after the running jobs leaves a stronger one in force.
    """
    path = spool.at("workers", supervisor + STOP)
    if now:
        temporary = spool.temporary()
        disk.write(temporary, b"now", durable=False)
        disk.replace(temporary, path)
    else:
        with contextlib.suppress(FileExistsError):
            disk.write(path, b"", durable=False)


def is_asked_to_stop(spool: Spool, supervisor: str) -> bool | None:
    """Whether somebody asked this supervisor to stop: True at once, False after its jobs; None: nobody."""
    try:
        return disk.read(spool.at("workers", supervisor + STOP), 16).data == b"now"
    except (FileNotFoundError, disk.NotPlain):
        return None


def sweep(spool: Spool) -> None:
    """Remove what the dead left in workers/ beside the records of workers."""
    for path in leftovers(spool):
        disk.unlink(path)


def leftovers(spool: Spool) -> list[str]:
    """What the dead left in workers/ beside the records of workers: files of supervisors, and locks of the stillborn."""
    found = []
    for name in list(disk.scan(spool.at("workers"))):
        stem, end = os.path.splitext(name)
        path = spool.at("workers", name)
        if end == SUPERVISOR:
            who = _read(spool, stem, SUPERVISOR)
            dead = (who is None or who.boot == host.place().boot) and _is_free(
                path, newborn=who is None
            )
        else:
            known = disk.is_there(
                spool.at("workers", stem + (SUPERVISOR if end == STOP else ".json"))
            ) or disk.is_there(spool.at("processing", stem))
            dead = end in (".lock", STOP) and not known and _is_free(path, newborn=True)
        if dead or (end == SUPERVISOR and age_of(path) > SWEEP_AGE):
            found.append(path)
    return found


def _is_free(path: str, *, newborn: bool) -> bool:
    """Whether nobody holds the file at `path`; one that may be `newborn` must have been there for a while."""
    return disk.is_held(path) is False and not (newborn and age_of(path) < NEWBORN)


def is_of_this_time(path: str) -> bool:
    """Whether the file at `path` was modified since this kernel began to run.

    A file of another boot that was: another host uses this file system, whatever it seems to be.
    """
    return (disk.modified(path) or 0.0) > host.booted_at()


def age_of(path: str) -> float:
    """Seconds between now, by this host's clock, and when the file at `path` was modified; 0 if it is not there."""
    now = time.time()
    return abs(now - (disk.modified(path) or now))


def dismiss(spool: Spool, worker: str) -> bool:
    """Remove what a worker left of itself, unless it still has jobs. False: it has."""
    directory = spool.at("processing", worker)
    if not disk.remove(directory) and any(True for _ in disk.scan(directory)):
        return False
    disk.unlink(spool.at("workers", worker + ".json"))
    disk.unlink(spool.at("workers", worker + ".lock"))
    return True


def beat(spool: Spool, worker: str) -> bool:
    """Say that a worker is alive. False: somebody has removed its record."""
    return disk.touch(spool.at("workers", worker + ".json"))


def names(spool: Spool) -> list[str]:
    """Everybody who left a record or a directory."""
    records = {name[:-5] for name in disk.scan(spool.at("workers")) if name.endswith(".json")}
    return sorted(records | set(spool.workers()))


def read(spool: Spool, worker: str) -> Record | None:
    """The record of a worker; None if there is none that can be read."""
    return _read(spool, worker, ".json")


def records(spool: Spool) -> Iterator[tuple[str, Record | None]]:
    """Everybody who left something, with its record."""
    return ((name, read(spool, name)) for name in names(spool))


def _read(spool: Spool, name: str, end: str) -> Record | None:
    try:
        record = load(disk.read(spool.at("workers", name + end), LARGEST).data)
        if not isinstance(record, dict):
            return None
        # Later versions may say more of themselves.
        found = Record(**{field: record[field] for field in Record._fields})
    except (FileNotFoundError, disk.NotPlain, InvalidJob, KeyError):
        return None
    fits = all(isinstance(value, kind) for value, kind in zip(found, _KINDS, strict=True))
    return found if fits else None


def build_of(spool: Spool, worker: str) -> str | None:
    """The build of queuectl that a worker runs; None if it does not say."""
    try:
        text = disk.read(spool.at("workers", worker + ".lock"), LARGEST).data.decode()
    except (OSError, ValueError):
        return None
    return text.strip() if text.strip().isprintable() and text.strip() else None


def lease(spool: Spool) -> float:
    """Seconds without a heartbeat after which a worker that cannot be asked counts as lost."""
    settings = spool.settings()
    least = LEAST_SHARED if spool.is_shared else 0.0
    return max(settings.worker_lost_after, 3 * settings.heartbeat_interval, least)


class Observer:
    """Judges who is alive. Keep one for as long as you judge: it remembers when it last saw each heart beat."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._seen: dict[str, tuple[float | None, float]] = {}
        self._looked: dict[str, float] = {}
        self.is_shared = spool.is_shared

    def is_alive(self, worker: str, record: Record | None) -> bool:
        """Whether the worker may still run something. True when in doubt."""
        if record is None and not self.is_shared:
            # A power cut may have torn the record. A lock that is there and that nobody on this, the only, host holds is enough.
            held = disk.is_held(self._spool.at("workers", worker + ".lock"))
            if held is not None:
                return held
        elif record is not None:
            if self.is_shared:
                # A lock on a network can be lost while its holder lives. An id that runs here may be somebody else's by now.
                if record.is_here and not host.is_running(record.pid):
                    return False
            elif record.boot == host.place().boot:
                held = disk.is_held(self._spool.at("workers", worker + ".lock"))
                if held is not None:
                    return held
            elif record.boot and not is_of_this_time(self._spool.at("workers", worker + ".json")):
                return False
        return not self.is_silent(worker)

    def runs(self, supervisor: Record) -> bool:
        """Whether a supervisor on another host may still run: it has its file, and its heart beats."""
        path = self._spool.at("workers", supervisor.worker + SUPERVISOR)
        return disk.is_there(path) and self._silence(supervisor.worker, SUPERVISOR) <= lease(
            self._spool
        )

    def is_silent(self, worker: str) -> bool:
        """Whether the worker's heart has not beaten for so long that it must be dead, or hangs."""
        return self.silence(worker) > lease(self._spool)

    def silence(self, worker: str) -> float:
        """Seconds for which this observer has seen the worker's heartbeat stand still; 0 at first sight.

        If we did not look for a while, perhaps we were stopped ourselves, and the worker with us: then it starts again.
        """
        return self._silence(worker, ".json")

    def _silence(self, worker: str, end: str) -> float:
        beat, now = disk.modified(self._spool.at("workers", worker + end)), time.monotonic()
        seen, looked = self._seen.get(worker), self._looked.get(worker, now)
        self._looked[worker] = now
        if seen is None or seen[0] != beat or now - looked > lease(self._spool) / 2:
            self._seen[worker] = seen = (beat, now)
        return now - seen[1]

    def age(self, worker: str) -> float | None:
        """Seconds since the last heartbeat by this host's wall clock, for people; None without a record."""
        beat = disk.modified(self._spool.at("workers", worker + ".json"))
        return None if beat is None else max(0.0, self._spool.now() - beat)
