"""What happened: one JSON line for each run of a job, appended, never rewritten.

A run is named by its claim, the path that its file had in processing/, because the
number of an attempt can come again (a job brought back from the dead letters) and a
claim cannot. The line also says `to`: where the job was about to be moved. A line
whose move never happened belongs to a worker that had lost its job; it is superseded.

Promises
    append adds one whole line or raises; a torn line of a crash never spoils the next.
    read skips what is torn and says how much.
Leaves to others
    what the outcome was (executor, retry); making it durable (supervisor).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import json
from typing import Any

from queuectl import disk
from queuectl.strict import writer

#: The most of one history that is read, in bytes: the newest end of it.
MOST = 16 * 1024 * 1024

Run = dict[str, Any]


_chunks = writer(",", ":", ascii_only=True)


def run(
    attempt: int,
    claim: str,
    to: str,
    worker: str,
    host: str,
    started_at: str,
    finished_at: str | None = None,
    duration: float | None = None,
    outcome: str | None = None,
    reason: str | None = None,
    exit_code: int | None = None,
    signal: int | None = None,
    cpu_seconds: float | None = None,
    max_rss_kb: int | None = None,
    stdout_tail: str = "",
    stderr_tail: str = "",
) -> Run:
    """The record of a run; the fields that are left out are not known."""
    return {
        "attempt": attempt,
        "claim": claim,
        "to": to,
        "worker": worker,
        "host": host,
        "started_at": started_at,
        "finished_at": finished_at,
        "duration": duration,
        "outcome": outcome,
        "reason": reason,
        "exit_code": exit_code,
        "signal": signal,
        "cpu_seconds": cpu_seconds,
        "max_rss_kb": max_rss_kb,
        "stdout_tail": stdout_tail,
        "stderr_tail": stderr_tail,
    }


def path(directory: str, id: str) -> str:
    """The file with the runs of job `id`."""
    return f"{directory}/{id}.jsonl"


def append(directory: str, id: str, run: Run) -> None:
    """Add a run to the history of job `id`."""
    line = "".join((*_chunks(run, 0), "\n")).encode()
    disk.append(f"{directory}/{id}.jsonl", line, first=run.get("attempt") == 1)


def read(directory: str, id: str) -> list[Run]:
    """The runs of job `id`, oldest first. A line that a crash tore becomes {"torn": true}."""
    lines = disk.read_tail(path(directory, id), MOST).split(b"\n")
    return [_run(line) for line in lines if line.strip(b"\0 \r")]


def _run(line: bytes) -> Run:
    try:
        run = json.loads(line)
    except ValueError:  # also UnicodeDecodeError
        return {"torn": True}
    return run if isinstance(run, dict) and "claim" in run else {"torn": True}


def of_claim(directory: str, id: str, claim: str) -> Run | None:
    """The record of the run that had this claim, if it got as far as writing one."""
    found = [run for run in read(directory, id) if run.get("claim") == claim]
    return found[-1] if found else None
