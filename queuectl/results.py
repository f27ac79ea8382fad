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

#: The most of one history that is read, in bytes: the newest end of it.
MOST = 16 * 1024 * 1024

Run = dict[str, Any]

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def path(directory: str, id: str) -> str:
    """The file with the runs of job `id`."""
    return f"{directory}/{id}.jsonl"


def append(directory: str, id: str, run: Run) -> None:
    """Add a run to the history of job `id`."""
    disk.append(path(directory, id), _encode(run).encode() + b"\n")


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
