"""Growth: what a thousand, a hundred thousand and a million jobs do to the cost of one.

Claim and complete is measured through the library, by the same dealer that a supervisor has, over a tenth of the backlog, so
that each listing is paid by those who need it. The other figures come from the real commands on the largest spool.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.arena import JOB, Arena, ended, environment
from benchmarks.drain import fill
from benchmarks.figures import Part, Table, median, spread, three
from benchmarks.waking import ours as waking

#: Seconds until a fresh supervisor must have claimed something.
PATIENCE = 120


def run(
    arena: Arena,
    *,
    sizes: str = "1000,10000,100000,1000000",
    rounds: int = 3,
    fewest: int = 2000,
    jobs: int = 2000,
    looks: int = 5,
    drops: int = 50,
) -> Part:
    """The part. `sizes`: backlogs; `rounds`: of each, but one of the largest; `fewest`: the jobs that a figure is the mean
    of; `jobs`: of the races and of the drains of a spool that was once huge; `drops`: on it; `looks`: runs of each command."""
    backlogs = [int(size) for size in sizes.split(",")]
    data: dict[str, Any] = {"claim_complete": _claims(arena, backlogs[:-1], rounds, fewest)}
    largest = arena.place / "largest"
    data["first"] = _first(arena, largest, backlogs[-1])
    data["claim_complete"][str(backlogs[-1])] = [_work(arena, largest, backlogs[-1] // 10)]
    data["races"] = _races(arena, jobs)
    print("growth: emptying the largest spool", file=sys.stderr)
    arena.inside("growth", "finish", str(largest))
    data["huge"] = _huge(arena, largest, jobs, drops, rounds)
    data["looks"] = _looks(arena, backlogs[-1], looks)
    return Part(
        data,
        [
            _growth(data, backlogs),
            _first_table(data, backlogs[-1]),
            _huge_table(data, backlogs[-1]),
        ],
    )


# -- claim + complete


def _work(arena: Arena, spool: Path, count: int) -> float:
    """Microseconds of a job."""
    seconds: float = arena.inside("growth", "work", str(spool), str(count))
    return 1e6 * seconds / count


def _claims(
    arena: Arena, backlogs: Sequence[int], rounds: int, fewest: int
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {str(size): [] for size in backlogs}
    for turn in range(rounds):
        for size in backlogs:
            print(f"growth: round {turn + 1} of {rounds}, {size} jobs", file=sys.stderr)
            # A tenth of a small backlog is over in a moment: then the mean of several spools.
            spools = max(1, fewest // (size // 10))
            found[str(size)].append(sum(_new_and_work(arena, size) for _ in range(spools)) / spools)
    return found


def _new_and_work(arena: Arena, size: int) -> float:
    spool = arena.fresh("growth")
    spool.rmdir()
    arena.inside("growth", "make", str(spool), str(size), "pending")
    return _work(arena, spool, size // 10)


# -- the first claim of a fresh supervisor


def _first(arena: Arena, spool: Path, size: int) -> dict[str, float]:
    """Seconds from the start of a supervisor to its first job, and its peak memory in megabytes by then."""
    print(f"growth: making {size} jobs", file=sys.stderr)
    arena.inside("growth", "make", str(spool), str(size), "pending")
    log = arena.place / "first.log"
    with open(log, "wb") as err:
        began = time.monotonic()
        process = subprocess.Popen(
            arena.start(spool, 1), stdin=subprocess.DEVNULL, stderr=err, env=environment()
        )
    with ended(process):
        while b" started " not in log.read_bytes():
            if time.monotonic() > began + PATIENCE:
                raise RuntimeError(f"nothing was claimed; see {log}")
            time.sleep(0.002)
        seconds = time.monotonic() - began
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    return {"seconds": seconds, "megabytes": peak}


# -- lost races


def _races(arena: Arena, jobs: int) -> dict[str, float]:
    """Claims lost for each job: 8 workers of one supervisor, and 4 supervisors with 2 each."""
    found = {}
    for name, supervisors, workers in (
        ("8 workers of one supervisor", 1, 8),
        ("4 supervisors of 2 workers", 4, 2),
    ):
        print(f"growth: races among {name}", file=sys.stderr)
        spool = Path(fill(arena, "races", jobs))
        tally = arena.place / "claims"
        tally.unlink(missing_ok=True)
        argv = arena.start(spool, workers, "--drain", launcher=["--claims", str(tally)])
        with open(arena.place / "races.log", "wb") as log:
            processes = [
                subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log, env=environment())
                for _ in range(supervisors)
            ]
            for process in processes:
                process.wait()
        tried, lost = map(
            sum,
            zip(*(map(int, line.split()) for line in tally.read_text().splitlines()), strict=True),
        )
        if tried - lost != jobs:
            raise RuntimeError(f"{tried} claims, {lost} lost, but {jobs} jobs")
        found[name] = lost / jobs
    return found


# -- a spool that was once huge


def _huge(arena: Arena, spool: Path, jobs: int, drops: int, rounds: int) -> dict[str, Any]:
    """Jobs a second in turns with new spools, and pick-ups in milliseconds: as it is, and after `doctor --fix`."""
    found: dict[str, Any] = {
        "a new spool": {"rate": [], "of_new": [], "waking": _pick_up(arena, None, drops)}
    }
    for name in ("once huge", "after doctor --fix"):
        if name != "once huge":
            found["fix"] = _fix(arena, spool)
        rates = [(_rate(arena, None, jobs), _rate(arena, spool, jobs)) for _ in range(rounds)]
        found["a new spool"]["rate"] += [new for new, _ in rates]
        found[name] = {
            "rate": [old for _, old in rates],
            "of_new": [old / new for new, old in rates],
            "waking": _pick_up(arena, spool, drops),
        }
    return found


def _fix(arena: Arena, spool: Path) -> dict[str, Any]:
    """Seconds of `doctor --fix`, and what it could not mend."""
    began = time.monotonic()
    words = [*arena.command, "--spool", str(spool), "doctor", "--fix"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False)
    left = [line for line in done.stdout.splitlines() if line.startswith("wrong")][:5]
    return {
        "seconds": time.monotonic() - began,
        "left": left or [done.stderr.strip()] * bool(done.returncode),
    }


def _rate(arena: Arena, spool: Path | None, jobs: int) -> float:
    """Jobs a second."""
    spool = spool or _new(arena)
    print(f"growth: the pace on a spool, {spool.name}", file=sys.stderr)
    arena.inside("client", "with_queuectl", "fill", str(jobs), *JOB, BENCH_DIR=str(spool))
    return jobs / arena.cost(arena.start(spool, 2, "--drain"), log=arena.place / "pace.log").wall


def _pick_up(arena: Arena, spool: Path | None, drops: int) -> list[float]:
    return waking(arena, "with_drop", drops, 0, spool=spool)["first"] if drops else []


def _new(arena: Arena) -> Path:
    spool = arena.fresh("new")
    spool.rmdir()
    return spool


# -- looking


def _looks(arena: Arena, size: int, times: int) -> dict[str, list[float]]:
    """Seconds of each command that looks, with so many completed jobs."""
    print(f"growth: looking at {size} completed jobs", file=sys.stderr)
    spool = arena.place / "completed"
    arena.inside("growth", "make", str(spool), str(size), "completed")
    commands = {
        "status": ["status"],
        "list --limit 20": ["list", "--limit", "20"],
        "show, of a finished job": ["show", "shown"],
    }
    commands["show, of an unknown id"] = ["show", "unknown"]
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times):
        for name, words in commands.items():
            began = time.monotonic()
            done = subprocess.run(
                [*arena.command, "--spool", str(spool), *words],
                capture_output=True,
                env=environment(),
                check=False,
            )
            found[name].append(time.monotonic() - began)
            if done.returncode != (3 if "unknown" in name else 0):
                raise RuntimeError(f"{name}: exit code {done.returncode}: {done.stderr.decode()}")
    return found


# -- tables


def _growth(data: dict[str, Any], backlogs: Sequence[int]) -> Table:
    claims = data["claim_complete"]
    base = median(claims[str(backlogs[0])])
    rows = [
        [f"{size:,}", spread(claims[str(size)], 1), f"{median(claims[str(size)]) / base:.2f}"]
        for size in backlogs
    ]
    note = "Claim, record and complete without a command, amortised over a tenth of the backlog."
    return Table("Growth", ["backlog", "us a job", "of the first"], rows, [note])


def _first_table(data: dict[str, Any], size: int) -> Table:
    first = data["first"]
    rows = [
        [
            "first claim of a fresh supervisor",
            f"{first['seconds']:.2f} s, {first['megabytes']:.0f} MB at its peak",
        ]
    ]
    rows += [
        [f"lost races a claim, {name}", f"{value:.3f}"] for name, value in data["races"].items()
    ]
    rows += [
        [f"`{name}`" if "," not in name else name, f"{spread(values)} s"]
        for name, values in data["looks"].items()
    ]
    return Table(
        f"With {size:,} jobs",
        ["", ""],
        rows,
        [f"The commands that look: with {size:,} completed jobs."],
    )


def _huge_table(data: dict[str, Any], size: int) -> Table:
    huge = data["huge"]
    rows = []
    for name in ("a new spool", "once huge", "after doctor --fix"):
        pace = huge[name]
        of_new = spread(pace["of_new"]) if pace["of_new"] else "1"
        rows.append(
            [
                name,
                spread(pace["rate"], 0),
                of_new,
                *(three(pace["waking"]) if pace["waking"] else ["", "", ""]),
            ]
        )
    note = f"`doctor --fix` took {huge['fix']['seconds']:.1f} s. Waking: milliseconds to the running command, bare spawn included."
    left = [f"It left: {' '.join(line.split())}" for line in huge["fix"]["left"]]
    title = f"A drained spool that once held {size:,} jobs"
    return Table(
        title, ["", "jobs a second", "of new", "waking p50", "p99", "max"], rows, [note, *left]
    )
