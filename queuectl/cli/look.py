"""queuectl status, list, show, logs: looking, which changes nothing."""

from __future__ import annotations

import os
import sys
import time
from typing import IO, Any

import click

from queuectl import liveness, lookup, render, units, waiting
from queuectl.cli import choose, show
from queuectl.errors import QueuectlError
from queuectl.layout import LATER, Entry
from queuectl.selection import Selection
from queuectl.spool import Spool

#: Seconds between two looks of `logs --follow`.
PAUSE = 0.1


@click.command("status")
@show.json_option
@click.pass_obj
def status_(spool: Spool, /, as_json: bool = False) -> None:
    """How many jobs are in each state, what waits longest, and who works.

    \b
    queuectl status
    queuectl status --json
    """
    found = lookup.status(spool.open(), liveness.Observer(spool))
    if as_json:
        show.document(found)
        return
    jobs, oldest = found["jobs"], found["oldest_ready_seconds"]
    ready = [] if oldest is None else [f"oldest ready since {units.ago(oldest)}"]
    later = [f"{found['scheduled']} wait for their time"] if found["scheduled"] else []
    ready = ["paused", *ready] if found["paused"] else ready
    click.echo(f"spool {render.printable(found['spool'])}" + "".join(f", {text}" for text in ready + later))
    show.table(
        ["STATE", "JOBS"],
        [(state, str(jobs[state])) for state in jobs if jobs[state] or state not in LATER],
        lambda row: row[0] if row[1] != "0" else "",
    )
    if found["workers"]:
        click.echo()
        show.workers(found["workers"])


@click.command("list")
@choose.jobs
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="At most so many; 0: all.")
@show.json_option
def list_(spool: Spool, chosen: Selection, /, limit: int, as_json: bool) -> None:
    """List jobs: running, pending (next first), failed (due first), dead and completed (newest first).

    \b
    queuectl list
    queuectl list --batch nightly --state failed --limit 10 --json
    """
    settings = spool.open().settings()
    why = waiting.Reasons(spool).of
    records = [lookup.record(spool, entry, settings, why) for entry in chosen.listed(limit)]
    if as_json:
        show.document(records)
        return
    if not records:
        click.echo("no jobs", err=True)
        return
    rows = [(r["id"], r["state"], str(r["priority"]), f"{r['attempts']}/{r['max_retries']}", _when(r), _command(r)) for r in records]
    show.table(["ID", "STATE", "PRI", "TRIES", "WHEN", "COMMAND"], rows, lambda row: row[1])


def _command(record: lookup.Record) -> str:
    return "(cannot be read)" if record["command"] is None else render.short(render.command(record["command"]), 60)


def _when(record: lookup.Record) -> str:
    now = time.time()
    if record["waits"]:
        return render.short(record["waits"], 60)
    if record["run_at"]:
        return f"ready {units.ago(now - units.instant(record['run_at']))}"
    if record["state"] == "processing":
        return f"since {units.ago(now - units.instant(record['updated_at']))}"
    return f"{units.ago(now - units.instant(record['updated_at']))} ago"


@click.command("show")
@click.argument("id")
@click.option("--show-env", is_flag=True, help="Show the values of its variables, too; they may be secrets.")
@show.json_option
@click.pass_obj
def show_(spool: Spool, /, id: str, show_env: bool, as_json: bool) -> None:
    """Everything about one job: its fields, and each of its runs.

    A unique beginning of an id is enough, and `last` is the job that was enqueued last. Of its variables only the names are
    shown.

    \b
    queuectl show job1
    queuectl show job1 --json
    """
    record = lookup.full_record(spool, choose.one(spool, id), spool.settings(), waiting.Reasons(spool).of, with_env=show_env)
    if as_json:
        show.document(record)
        return
    runs = record.pop("runs")
    command = record.pop("command")
    head = [("id", record.pop("id")), ("command", "(cannot be read)" if command is None else render.command(command))]
    env = record.pop("env")
    show.fields([*head, *record.items(), ("env", " ".join(k if v is None else f"{k}={v}" for k, v in (env or {}).items()) or None)])
    for run in runs:
        show_run(run)


def show_run(run: lookup.Record) -> None:
    """Print one run of a job."""
    outcome = f"{run['outcome'] or 'unknown'}{' (superseded)' if run['superseded'] else ''}"
    details = [
        run["reason"],
        f"took {units.span(round(run['duration'], 3))}" if run["duration"] is not None else None,
        f"cpu {run['cpu_seconds']}s" if run["cpu_seconds"] is not None else None,
        f"peak {run['max_rss_kb']} kB" if run["max_rss_kb"] is not None else None,
        f"by {run['worker']}" if run["worker"] else None,
    ]
    when = f" at {run['finished_at']}" if run["finished_at"] else ""
    click.echo(f"\nattempt {run['attempt']}: {outcome}{when}; " + "; ".join(render.printable(d) for d in details if d))
    show.block("stdout", run["stdout_tail"] or "")
    show.block("stderr", run["stderr_tail"] or "")


@click.command("logs")
@click.argument("id")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Another attempt than the last.")
@show.json_option
@click.pass_obj
def logs_(spool: Spool, /, id: str, follow: bool, attempt: int | None, as_json: bool) -> None:
    """What a job's command printed: its stdout on stdout, its stderr on stderr.

    After `dlq retry` the attempts count from 1 again, and a new log replaces the old of that number; the end of
    each stream stays in `queuectl show`.

    \b
    queuectl logs job1
    queuectl logs job1 --follow
    """
    entry = choose.one(spool, id)
    if follow and as_json:
        raise click.UsageError("--follow has no end that JSON could wait for; use one of them")
    if follow:
        _follow(spool, entry, attempt)
        return
    number = attempt or _last_attempt(spool, entry)
    streams = {stream: _open(spool.log(entry.name.id, number, stream)) for stream in ("out", "err")}
    if attempt and attempt > _last_attempt(spool, entry):
        raise QueuectlError(f"job {entry.name.id} has had {_last_attempt(spool, entry)} attempts; there is no attempt {attempt}")
    if as_json:
        texts = {stream: file.read().decode(errors="replace") if file else "" for stream, file in streams.items()}
        show.document({"id": entry.name.id, "attempt": number, "stdout": texts["out"], "stderr": texts["err"]})
        return
    for stream, file in streams.items():
        if file:
            _copy(file, sys.stdout.buffer if stream == "out" else sys.stderr.buffer)


def _last_attempt(spool: Spool, entry: Entry) -> int:
    """The number of the attempt that ran last; a job that was brought back from the dead counts from 0 again."""
    runs = lookup.runs(spool, entry)
    last = runs[-1]["attempt"] if runs and entry.name.attempts == 0 else 0
    return max(entry.name.attempts, last or 0, 0)


def _open(path: str) -> IO[bytes] | None:
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        return None


def _copy(file: IO[bytes], target: IO[bytes]) -> None:
    while chunk := file.read(65536):
        target.write(chunk)
    target.flush()


def _current(file: IO[bytes] | None, path: str, target: IO[bytes]) -> IO[bytes] | None:
    """Copy what has come; the log that is at `path` now, should a run that was given back have begun a new one."""
    newest = _open(path)
    if file is not None:
        _copy(file, target)
        if newest is None or os.path.sameopenfile(file.fileno(), newest.fileno()):
            if newest is not None:
                newest.close()
            return file
        file.close()
    if newest is not None:
        _copy(newest, target)
    return newest


def _follow(spool: Spool, entry: Entry, attempt: int | None) -> None:
    """Copy the logs as they grow, attempt after attempt, until the job is completed or dead."""
    id, at = entry.name.id, attempt or max(1, _last_attempt(spool, entry))
    files: dict[tuple[int, str], Any] = {}
    while True:
        # Look at the state first: what was printed before the end is then read below.
        now = lookup.find(spool, id)
        over = now.state in ("completed", "dead")
        last = attempt or max(at, now.name.attempts)
        for number in range(at, last + 1):
            for stream, target in (("out", sys.stdout.buffer), ("err", sys.stderr.buffer)):
                key = (number, stream)
                files[key] = _current(files.get(key), spool.log(id, number, stream), target)
        if over or (attempt and now.state != "processing" and now.name.attempts >= attempt):
            return
        at = last
        time.sleep(PAUSE)
