"""queuectl status, list, show: looking, which changes nothing."""

from __future__ import annotations

import os
import sys
import time

import click

from queuectl import liveness, lookup, render, units, waiting
from queuectl.cli import Command, choose, complete, show
from queuectl.errors import Wrong
from queuectl.layout import LATER, Entry
from queuectl.selection import Selection
from queuectl.spool import Spool

#: The least seconds between two looks of `status --watch`.
SHORTEST = 0.1

#: What clears a terminal.
CLEAR = "\x1b[H\x1b[2J"


@click.command("status", cls=Command)
@click.option(
    "--watch",
    is_flag=False,
    flag_value="1",
    metavar="[SECONDS]",
    help="Show it again and again, every second unless told otherwise.",
)
@show.json_option
@click.pass_obj
def status_(spool: Spool, /, watch: str | None = None, as_json: bool = False) -> None:
    """How many jobs are in each state, what waits longest, and who works.

    With --watch a terminal shows it in the same place, a pipe or a file gets one after the other. The names of a large
    directory are counted less often, so that counting takes a twentieth of a processor at most.

    \b
    queuectl status
    queuectl status --json
    queuectl status --watch 5
    """
    if watch is None:
        found = lookup.status(spool.open(), liveness.Observer(spool))
        if as_json:
            show.document(found)
        else:
            _show_status(found)
        return
    if as_json:
        raise click.UsageError("--json is one document, and --watch has no end; use one of them")
    _watch(spool, _seconds(watch))


def _seconds(text: str) -> float:
    try:
        seconds = units.seconds(text)
    except ValueError as error:
        raise Wrong(f"--watch: {error}") from None
    if seconds < SHORTEST:
        raise Wrong(f"--watch: {text} is too short; give {SHORTEST} seconds or more")
    return seconds


def _watch(spool: Spool, seconds: float) -> None:
    from queuectl.census import Census

    census, observer = Census(spool.open()), liveness.Observer(spool)
    repaint = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    is_first = True
    while True:
        spool.open()
        census.look()
        found = lookup.status_of(
            spool, observer, census.jobs(), census.scheduled(), census.oldest()
        )
        click.echo(CLEAR if repaint else "" if is_first else "\n", nl=False)
        _show_status(found)
        is_first = False
        time.sleep(seconds)


def _show_status(found: lookup.Record) -> None:
    jobs, oldest = found["jobs"], found["oldest_ready_seconds"]
    ready = [] if oldest is None else [f"oldest ready since {units.ago(oldest)}"]
    later = [f"{found['scheduled']} wait for their time"] if found["scheduled"] else []
    ready = ["paused", *ready] if found["paused"] else ready
    click.echo(
        f"spool {render.printable(found['spool'])}" + "".join(f", {text}" for text in ready + later)
    )
    show.table(
        ["STATE", "JOBS"],
        [(state, str(jobs[state])) for state in jobs if jobs[state] or state not in LATER],
        lambda row: row[0] if row[1] != "0" else "",
    )
    if found["workers"]:
        click.echo()
        show.workers(found["workers"])


@click.command("list", cls=Command)
@choose.jobs
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="At most so many; 0: all.",
)
@show.json_option
def list_(spool: Spool, chosen: Selection, /, limit: int, as_json: bool) -> None:
    """List jobs: running, pending (next first), failed (due first), dead and completed (newest first).

    \b
    queuectl list
    queuectl list --batch nightly --state failed --limit 10 --json
    """
    settings = spool.open().settings()
    why = waiting.Reasons(spool).of

    def record(entry: Entry) -> lookup.Record:
        return lookup.record(spool, entry, settings, why)

    found = choose.first(chosen.listed, limit)
    # A job that was named is shown where it is; a listing of many is a sample.
    records = [lookup.view(spool, e, record) if chosen.ids else record(e) for e in found]
    if as_json:
        show.document(records)
        return
    if not records:
        click.echo("no jobs", err=True)
        return
    rows = [
        (
            r["id"],
            r["state"],
            str(r["priority"]),
            f"{r['attempts']}/{r['max_retries']}",
            _when(r),
            show.command(r),
        )
        for r in records
    ]
    show.table(["ID", "STATE", "PRI", "TRIES", "WHEN", "COMMAND"], rows, lambda row: row[1])


def _when(record: lookup.Record) -> str:
    now = time.time()
    if record["waits"]:
        return str(record["waits"])
    if record["run_at"]:
        return f"ready {units.ago(now - units.instant(record['run_at']))}"
    if record["state"] == "processing":
        return f"since {units.ago(now - units.instant(record['updated_at']))}"
    return f"{units.ago(now - units.instant(record['updated_at']))} ago"


@click.command("show", cls=Command)
@click.argument("id", shell_complete=complete.ids)
@click.option(
    "--show-env", is_flag=True, help="Show the values of its variables, too; they may be secrets."
)
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
    settings, why = spool.settings(), waiting.Reasons(spool).of
    record = lookup.view(
        spool,
        choose.one(spool, id),
        lambda e: lookup.full_record(spool, e, settings, why, with_env=show_env),
    )
    if as_json:
        show.document(record)
        return
    runs = record.pop("runs")
    head = [("id", record.pop("id")), ("command", show.command(record))]
    record.pop("command")
    env = record.pop("env")
    show.fields(
        [
            *head,
            *record.items(),
            (
                "env",
                " ".join(k if v is None else f"{k}={v}" for k, v in (env or {}).items()) or None,
            ),
        ]
    )
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
        f"{run['output_lost']} bytes of output lost" if run.get("output_lost") else None,
    ]
    when = f" at {run['finished_at']}" if run["finished_at"] else ""
    click.echo(
        f"\nattempt {run['attempt']}: {outcome}{when}; "
        + "; ".join(render.printable(d) for d in details if d)
    )
    show.block("stdout", run["stdout_tail"] or "")
    show.block("stderr", run["stderr_tail"] or "")
