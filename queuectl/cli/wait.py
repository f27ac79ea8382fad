"""queuectl wait: until jobs have ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

import click

from queuectl import actions, lookup, tally, units
from queuectl.cli import Command, choose, complain, show
from queuectl.errors import Wrong
from queuectl.filename import decode
from queuectl.layout import ENDED
from queuectl.selection import Selection
from queuectl.spool import Spool


@click.command("wait", cls=Command)
@choose.jobs
@click.option("--timeout", metavar="TIME", help="Give up after this much time, with exit code 124.")
@show.json_option
def wait_(spool: Spool, chosen: Selection, /, timeout: str | None, as_json: bool) -> None:
    """Wait until jobs have ended: completed, or dead. Retries are waited for.

    Exit code for one job: its own; 128 + n for signal n; 124 for a timeout, its own or of this wait; 126 or 127 if it
    could not start; 130 cancelled; 1 lost until dead. For several jobs, and for those chosen by options: 0 if all
    completed, else 1.

    Of a batch, jobs that come meanwhile are waited for as well; other options mean the jobs that fit now. While the spool is
    paused this goes on waiting, and says so.

    \b
    queuectl wait job1 --timeout 10m || echo failed
    queuectl wait --batch nightly
    """
    try:
        seconds = None if timeout is None else units.seconds(timeout)
    except ValueError as error:
        raise Wrong(f"--timeout: {error}") from None
    choose.some(chosen).spool.open()
    if chosen.ids:
        _wait_for_each(spool, chosen, seconds, timeout, as_json)
    else:
        _wait_for_all(spool, chosen, seconds, timeout, as_json)


def _wait_for_each(
    spool: Spool, chosen: Selection, seconds: float | None, timeout: str | None, as_json: bool
) -> None:
    def ended(job: actions.Waited) -> None:
        if not as_json:
            click.echo(f"{job.id} {job.state}", err=True)

    ids = list(dict.fromkeys(entry.name.id for entry in chosen.entries()))
    waited = actions.wait(spool, ids, seconds, ended, show.Pause(spool).look)
    if waited is None:
        left = [id for id in ids if lookup.find(spool, id).state not in ENDED]
        some = ", ".join(left[:4]) + (", ..." if len(left) > 4 else "")
        _give_up(
            f"not ended within {timeout}: {some}; wait longer, or see why with 'queuectl list'"
        )
    if as_json:
        show.document([{"id": job.id, "state": job.state, "exit_code": job.code} for job in waited])
    codes = [job.code for job in waited]
    raise click.exceptions.Exit(codes[0] if len(codes) == 1 else int(any(codes)))


def _give_up(why: str) -> NoReturn:
    complain(why, actions.TIMED_OUT)
    raise click.exceptions.Exit(actions.TIMED_OUT)


def _wait_for_all(
    spool: Spool, chosen: Selection, seconds: float | None, timeout: str | None, as_json: bool
) -> None:
    if chosen.states or chosen.name is not None:
        # A drop has no id to follow it by before it is admitted.
        waiting = tally.Tally(
            spool,
            [entry.name.id for entry in chosen.entries() if decode(os.path.basename(entry.file))],
        )
    else:
        waiting = tally.Tally(spool, batch=chosen.batch)
    told, close = _bar(chosen.batch or "waiting")
    pause = show.Pause(spool)

    def looked(count: tally.Count) -> None:
        told(count)
        if count.left:
            pause.look()

    try:
        count, is_over = tally.wait(waiting, seconds, looked)
    finally:
        close()
    took = waiting.span()
    if as_json:
        show.document({"batch": chosen.batch, **count._asdict(), "seconds": round(took, 3)})
    else:
        click.echo(_summary(chosen.batch, count, took), err=True)
    if not is_over:
        _give_up(
            f"{count.left} of {count.total} jobs have not ended within {timeout}; wait longer, or see why with 'queuectl list'"
        )
    raise click.exceptions.Exit(int(count.dead > 0))


def _summary(batch: str | None, count: tally.Count, took: float) -> str:
    parts = [f"{count.completed} completed", f"{count.dead} dead"]
    parts += [f"{count.gone} removed"] if count.gone else []
    parts += [f"{count.left} not ended"] if count.left else []
    return f"{f'batch {batch}: ' if batch else ''}{', '.join(parts)}, took {units.span(round(took, 1))}"


def _bar(title: str) -> tuple[Callable[[tally.Count], None], Callable[[], None]]:
    """What shows a count on a terminal, and what takes it away."""
    if not sys.stderr.isatty():
        return lambda _: None, lambda: None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[dead]} dead"),
    )
    bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(title, total=None, dead=0)
    bar.start()

    def told(count: tally.Count) -> None:
        bar.update(task, total=count.total, completed=count.completed + count.dead, dead=count.dead)

    return told, bar.stop
