"""The arena: where the benchmarks happen, with what, and what a run costs there.

Promises
    fresh answers a directory that is there and empty.
    Programs are compiled once, on the fly.
Leaves to others
    building and installing (kit), the disk under it (image).
Raises
    Impossible with a reason: this machine lacks what a part needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent
INSIDE = HERE / "inside"

#: What a job runs: the shell that the limit starts, as an argv, so that no shortcut around the shell counts.
JOB = ["/bin/sh", "-c", "true"]


class Impossible(Exception):
    """A part cannot run here, and why."""


class Cost(NamedTuple):
    """Seconds of a run, and CPU seconds of its process tree."""

    wall: float
    cpu: float


@dataclass
class Arena:
    """`place`: a directory on the disk to measure. `python`: an interpreter that has queuectl, `peers` one that has the
    peers, if there is one. `build`: where compiled programs go."""

    place: Path
    python: str
    build: Path
    peers: str | None = None

    def fresh(self, name: str) -> Path:
        """An empty directory in the place."""
        path = self.place / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def program(self, name: str) -> str:
        """The program that is compiled from benchmarks/NAME.c."""
        source, target = HERE / f"{name}.c", self.build / name
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            compiler = next(
                (found for word in ("cc", "gcc", "clang") if (found := shutil.which(word))), None
            )
            if compiler is None:
                raise Impossible("no C compiler (cc, gcc or clang) is installed")
            self.build.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", target, source], check=True
            )
        return str(target)

    # -- queuectl

    @property
    def command(self) -> list[str]:
        """The command queuectl as it was installed."""
        script = Path(self.python).parent / "queuectl"
        return [str(script)] if script.exists() else [self.python, "-P", "-m", "queuectl"]

    def queuectl(self, spool: Path, *words: str) -> str:
        """Run the command on a spool; what it printed."""
        done = subprocess.run(
            [*self.command, "--spool", str(spool), *words],
            capture_output=True,
            text=True,
            env=environment(),
            cwd=self.place,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"queuectl {' '.join(words)}: exit code {done.returncode}: {done.stderr}"
            )
        return done.stdout

    def start(
        self, spool: Path, count: int, *words: str, launcher: Sequence[str] = ()
    ) -> list[str]:
        """The argv that starts workers; `launcher` are words for inside/launch.py instead of the plain command."""
        command = (
            [self.python, str(INSIDE / "launch.py"), *launcher, "--"] if launcher else self.command
        )
        return [*command, "--spool", str(spool), "worker", "start", "--count", str(count), *words]

    @contextlib.contextmanager
    def workers(self, spool: Path, count: int, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Workers in the background, ended at the end."""
        with open(f"{spool}.log", "wb") as log:
            process = subprocess.Popen(
                self.start(spool, count, *words),
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=environment(),
            )
        with ended(process, signal.SIGQUIT):
            yield process

    def inside(self, script: str, *words: str, python: str | None = None, **env: str) -> Any:
        """Run a script of inside/ with queuectl's or another interpreter; the JSON that it prints."""
        argv = [python or self.python, str(INSIDE / f"{script}.py"), *words]
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(**env),
            cwd=self.place,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"inside/{script}.py {' '.join(words)}: exit code {done.returncode}")
        return json.loads(done.stdout) if done.stdout else None

    # -- costs

    def cost(
        self,
        argv: Sequence[str],
        *,
        log: Path | None = None,
        tally: tuple[Path, int] | None = None,
        servers: Sequence[int] = (),
        before: Sequence[Sequence[str]] = (),
        **env: str,
    ) -> Cost:
        """What a run costs. With `tally`, a file and a count, it is over when so many jobs have written a byte there.
        `before`: commands that are run first, in the same process tree, and are not counted."""
        words = ["--tally", str(tally[0]), str(tally[1])] if tally else []
        words += ["--before", json.dumps(before)] if before else []
        words += ["--servers", ",".join(map(str, servers))] if servers else []
        with open(log or os.devnull, "wb") as err:
            done = subprocess.run(
                [sys.executable, str(INSIDE / "cost.py"), *words, "--", *argv],
                stdout=subprocess.PIPE, stderr=err, text=True, env=environment(**env), cwd=self.place, check=False,
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)} failed; see {log}")
        return Cost(**json.loads(done.stdout))

    def limit(self, count: int, width: int) -> Cost:
        """What the C program costs that only spawns and waits."""
        return self.cost([self.program("limit"), str(count), str(width)])


def environment(**more: str) -> dict[str, str]:
    """Our environment without settings of queuectl."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}
    return {**clean, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}


@contextlib.contextmanager
def ended(
    process: subprocess.Popen[Any], number: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    """A context at whose end a process of ours is ended."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def machine(place: Path) -> dict[str, str]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in _lines("/proc/cpuinfo")
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    mounts = sorted(
        (line.split()[1:3] for line in _lines("/proc/mounts")), key=lambda mount: len(mount[0])
    )
    kinds = [
        kind for point, kind in mounts if str(place.resolve()).startswith(point.rstrip("/") + "/")
    ]
    return {
        "processor": f"{os.cpu_count()} x {model}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"Python {platform.python_version()}",
        "disk": kinds[-1] if kinds else "unknown",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
