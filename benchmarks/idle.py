"""Idle: what two workers, their supervisor and the watch cost while nothing happens.

CPU is what the scheduler says that they ran, memory is proportional (PSS: what they share counts once).
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.arena import Arena, Impossible
from benchmarks.figures import Part, Table
from benchmarks.waking import spool_with_workers, until_up


def family(pid: int) -> list[int]:
    """A process and all below it, as far as they do not end meanwhile."""
    found = [pid]
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def _ran(pids: list[int]) -> float:
    """Seconds that they have run, all their threads; of children that have ended, to the clock's tick."""
    total = 0.0
    for pid in pids:
        with suppress(
            FileNotFoundError, ProcessLookupError
        ):  # what has ended counts with its parent
            tasks = Path(f"/proc/{pid}/task").iterdir()
            total += sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
            ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
            total += sum(map(int, ended)) / 100
    return total


def _memory(pid: int) -> float:
    """Megabytes of proportional memory; none of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1024


def _look(arena: Arena, backlog: int, seconds: float, rest: float) -> dict[str, float]:
    spool = spool_with_workers(arena, "idle")
    if backlog:
        arena.inside("growth", "make", str(spool), str(backlog), "pending", "delayed")
    with arena.workers(spool, 2) as process:
        until_up(spool, 2)
        time.sleep(rest)
        pids = family(process.pid)
        before, began = _ran(pids), time.monotonic()
        time.sleep(seconds)
        share = (_ran(pids) - before) / (time.monotonic() - began)
        return {
            "processes": len(pids),
            "cpu_percent": 100 * share,
            "megabytes": sum(map(_memory, pids)),
        }


def run(arena: Arena, *, seconds: float = 60.0, backlog: int = 100_000, rest: float = 5.0) -> Part:
    """The part: over so many `seconds`, after so many seconds of `rest`."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise Impossible("it reads /proc, which only Linux has")
    found = {}
    for jobs in (0, backlog):
        print(f"idle: {jobs} delayed jobs, {seconds:.0f} s", file=sys.stderr)
        found[f"{jobs:,} delayed jobs"] = _look(arena, jobs, seconds, rest)
    rows = [
        [name, f"{one['cpu_percent']:.3f} %", f"{one['megabytes']:.1f}", f"{one['processes']:.0f}"]
        for name, one in found.items()
    ]
    note = f"Two workers, their supervisor and the watch, all settings at their defaults, over {seconds:.0f} s."
    return Part(
        {"seconds": seconds, "found": found},
        [Table("Idle", ["", "of a core", "PSS MB", "processes"], rows, [note])],
    )
