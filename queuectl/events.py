"""Events: each change of a job's state, a line in `events/<day>.jsonl`, if the setting `events` is on.

A line is one write to a file that is open for appending, so those of several processes never
mix. Appends of several hosts to one file of a network do mix: there each host has a file of
its own, `events/<day>.<host>.jsonl`. Days are those of UTC.

Promises
    Whatever happens to a line, the deed that it tells of is done: a full disk loses lines, no jobs.
    A reader gets whole lines only, and where it stopped it can go on.
Leaves to others
    what is told (spool, filing, recovery, blocked), whether (config), adding up (metrics).
Raises
    nothing from tell; OSError from reading.
"""

from __future__ import annotations

import heapq
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from queuectl import disk, host, units
from queuectl.filename import unstamp

#: Seconds after which a file is opened again: somebody may have removed it.
RENEW = 10.0

#: What is told of a run.
TOLD = ("attempt", "outcome", "duration", "exit_code", "reason")

Event = dict[str, Any]

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def day(epoch: float) -> str:
    """The day of a time, as the names of files begin."""
    return units.iso(epoch)[:10]


class Journal:
    """Where one process tells what it does to the jobs of the spool at `path`, which hosts may share."""

    def __init__(self, path: str, *, shared: bool) -> None:
        self._path, self._fd, self._file = path, -1, ""
        self._place = f".{host.place().host}" if shared else ""
        self._opened = self._pid = 0.0

    def tell(self, event: str, id: str | None, details: Event, run: Event | None = None) -> None:
        """Write one line: what happened, now, and to which job; of its `run` what is TOLD."""
        now = time.time()
        if run is not None:
            details |= {key: run[key] for key in TOLD}
        if event == "claimed":
            details["waited"] = round(max(0.0, now - unstamp(os.path.basename(details["was"]))), 6)
            details["took"] = round(details["took"], 6)
        line = {
            "time": units.iso(now),
            "event": event,
            "job": id,
            **details,
            "by": f"{host.place().host}-{os.getpid()}",
        }
        try:
            disk.put(self._open(now), _encode(line).encode() + b"\n")
        except OSError:
            self._close()  # what it wrote by half is closed when it is opened again

    def _open(self, now: float) -> int:
        file = f"{self._path}/events/{day(now)}{self._place}.jsonl"
        if self._fd < 0 or file != self._file or time.monotonic() - self._opened > RENEW:
            self._close()
            try:
                self._fd = disk.open_end(file)
            except FileNotFoundError:
                disk.make(f"{self._path}/events")
                self._fd = disk.open_end(file)
            self._file, self._opened = file, time.monotonic()
        return self._fd

    def _close(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
        self._fd = -1

    def __del__(self) -> None:
        self._close()


# -- reading


def files(directory: str) -> list[str]:
    """The names of the files of events, the oldest day first."""
    return sorted(
        name
        for name in disk.scan(directory)
        if name.endswith(".jsonl") and name[:10].count("-") == 2
    )


def read(directory: str, places: dict[str, int]) -> Iterator[Event]:
    """The events that came since `places`, in which it is noted how far each file was read; by time, day after day."""
    found = files(directory)
    for name in [name for name in places if name not in found]:
        del places[name]
    for date in sorted({name[:10] for name in found}):
        ours = [name for name in found if name[:10] == date]
        yield from heapq.merge(*(_events(directory, name, places) for name in ours), key=_time)


def _time(event: Event) -> str:
    return str(event.get("time", ""))


def _events(directory: str, name: str, places: dict[str, int]) -> Iterator[Event]:
    try:
        file = open(os.path.join(directory, name), "rb")  # noqa: SIM115  closed below
    except FileNotFoundError:
        return  # RACE: it was pruned
    with file:
        at = places.get(name, 0)
        file.seek(at if at <= os.fstat(file.fileno()).st_size else 0)  # a file of this name is new
        places[name] = file.tell()
        for line in file:
            if not line.endswith(b"\n"):
                return  # somebody is writing it, or a crash tore it
            places[name] += len(line)
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event


def ends(directory: str) -> dict[str, int]:
    """The places behind all that is there now."""
    return {name: disk.size(os.path.join(directory, name)) for name in files(directory)}


def prune(directory: str, before: float) -> int:
    """Remove the files of days that were over before that time: how many."""
    return sum(
        disk.unlink(os.path.join(directory, name))
        for name in files(directory)
        if name[:10] < day(before)
    )
