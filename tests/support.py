"""What tests share: waiting for a condition, running the command, running workers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from queuectl import processes
from queuectl.layout import NESTED

T = TypeVar("T")

#: Seconds after which a condition counts as never coming true: generous, because machines are shared.
PATIENCE = 30


def until(condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Wait until `condition` answers something true, and answer that; fail with what it answered last."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{condition} was still {value!r} after {seconds} s")
        time.sleep(0.005)


def environment(spool: Path, **more: str) -> dict[str, str]:
    """Our environment without settings of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}
    return {**clean, "QUEUECTL_SPOOL": str(spool), "NO_COLOR": "1", **more}


class Command:
    """The command queuectl, on one spool. Call it with words; it answers stdout, and fails the test on another exit code."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool

    def run(
        self,
        *words: str,
        input: str | bytes | None = None,
        cwd: Path | None = None,
        prefix: Sequence[str] = (),
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run it and answer everything; `prefix`: words before the command."""
        data = input.encode() if isinstance(input, str) else input
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "queuectl", *words],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            env=environment(self.spool, **env),
            cwd=cwd,
            timeout=55,
            check=False,
        )
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def __call__(self, *words: str, code: int = 0, **options: Any) -> str:
        done = self.run(*words, **options)
        assert done.returncode == code, (
            f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def json(self, *words: str, **options: Any) -> Any:
        """Run it with --json."""
        return json.loads(self(*words, "--json", **options))

    def refusal(self, *words: str, code: int, **options: Any) -> str:
        """Run it where it must refuse: the one line of its error."""
        done = self.run(*words, **options)
        assert done.returncode == code, (
            f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        assert done.stdout == ""
        return done.stderr.strip().splitlines()[-1]


class Workers:
    """A supervisor in the background: `with Workers(spool, "--count", "2") as workers`; `prefix`: words before the command."""

    def __init__(self, spool: Path, *words: str, prefix: Sequence[str] = (), **env: str) -> None:
        self.spool, self.words, self.prefix, self.env = spool, words, prefix, env

    def __enter__(self) -> "Workers":
        self.log_path = self.spool.parent / f"workers-{time.monotonic_ns()}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    sys.executable,
                    "-m",
                    "queuectl",
                    "worker",
                    "start",
                    "--log-format",
                    "json",
                    *self.words,
                ],
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=environment(self.spool, **self.env),
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(20)
        finally:
            self.kill()
            for name in (
                os.listdir(self.spool / "workers") if (self.spool / "workers").is_dir() else ()
            ):
                processes.end_all(name.rpartition(".")[0], 0, spool=str(self.spool))

    def kill(self) -> None:
        """SIGKILL the supervisor and all its workers at once."""
        pids = (
            [self.process.pid, *(record["pid"] for record in self.records())]
            if self.process.poll() is None
            else []
        )
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)

    def events(self, what: str | None = None) -> list[dict[str, Any]]:
        """The log lines so far."""
        lines = self.log_path.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if what in (None, event["event"])]

    def records(self) -> list[dict[str, Any]]:
        """The records of the workers of this supervisor."""
        found = []
        for path in (self.spool / "workers").glob("*.json"):
            try:
                record = json.loads(path.read_text())
            except (FileNotFoundError, ValueError):
                continue
            if record["supervisor_pid"] == self.process.pid:
                found.append(record)
        return found

    def up(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until `count` workers are there; their records."""
        return until(lambda: (found := self.records()) and len(found) >= count and found)


def names(spool: Path, state: str) -> list[str]:
    """The names in the directory of a state, sorted; for processing those of all workers, for blocked of all that is waited for."""
    if state in NESTED:
        return sorted(path.name for path in (spool / state).glob("*/*"))
    return sorted(path.name for path in (spool / state).glob("*"))


def ids_in(spool: Path, state: str) -> list[str]:
    """The ids of the jobs in a state."""
    return sorted(
        name.split("-", 3)[3].removesuffix(".json")
        for name in names(spool, state)
        if name.endswith(".json")
    )
