"""queuectl hold, release, set, retry: changing what waits, by renaming it."""

from __future__ import annotations

import click

from queuectl import actions, units
from queuectl.cli import Command, choose
from queuectl.errors import Wrong
from queuectl.layout import WAITING, Entry
from queuectl.selection import Selection
from queuectl.spool import Spool


@click.command("hold", cls=Command)
@choose.jobs
def hold_(spool: Spool, chosen: Selection) -> None:
    """Let waiting jobs wait until they are released, in held/. A job that is running is refused.

    \b
    queuectl hold job1
    queuectl hold --batch nightly
    """
    choose.each(
        chosen,
        WAITING,
        lambda entry: f"{entry.name.id} held" if actions.hold(spool, entry) else None,
    )


@click.command("release", cls=Command)
@choose.jobs
def release_(spool: Spool, chosen: Selection) -> None:
    """Let held jobs run when they are due, at once if that is over.

    \b
    queuectl release job1 job2
    queuectl release --state held
    """
    choose.each(
        chosen,
        ("held",),
        lambda entry: f"{entry.name.id} pending" if actions.release(spool, entry) else None,
    )


@click.command("set", cls=Command)
@choose.jobs
@click.option("--priority", type=click.IntRange(0, 9), metavar="0..9", help="Higher runs first.")
@click.option(
    "--run-at",
    metavar="WHEN",
    help="Not before this time, ISO 8601; without a zone it is this machine's.",
)
@click.option(
    "--delay",
    metavar="TIME",
    help='Not before this much time from now, such as 90 or "10m"; 0 is now.',
)
def set_(
    spool: Spool, chosen: Selection, /, priority: int | None, run_at: str | None, delay: str | None
) -> None:
    """Give waiting jobs another priority or another time. A job that is running is refused.

    This renames the job's file: what the file says stays as it was enqueued. A failed job that gets a time is pending.

    \b
    queuectl set job1 --priority 9
    queuectl set --batch nightly --run-at 2026-12-01T02:00
    """
    if run_at is not None and delay is not None:
        raise click.UsageError("--run-at and --delay both say when; give one of them")
    if (priority, run_at, delay) == (None, None, None):
        raise click.UsageError("what shall change? say --priority, --run-at or --delay")
    due = _due(spool, run_at, delay)

    def change(entry: Entry) -> str | None:
        told = [f"priority {priority}"] if priority is not None else []
        told += [f"due {units.iso(due)}"] if due is not None else []
        return (
            f"{entry.name.id} {', '.join(told)}"
            if actions.change(spool, entry, priority=priority, due=due)
            else None
        )

    choose.each(chosen, WAITING, change)


def _due(spool: Spool, run_at: str | None, delay: str | None) -> float | None:
    try:
        if delay is not None:
            return spool.now() + units.seconds(delay)
        return None if run_at is None else units.instant(run_at, zone=None)
    except ValueError as error:
        raise Wrong(f"{'--delay' if run_at is None else '--run-at'}: {error}") from None


@click.command("retry", cls=Command)
@choose.jobs
@click.option(
    "--all-failed",
    is_flag=True,
    help="Every job that failed and waits for its next try; the same as --state failed.",
)
def retry_(spool: Spool, chosen: Selection, /, all_failed: bool) -> None:
    """Let failed jobs run now instead of at their time, and bring dead ones back with all their attempts again.

    Cancelled jobs are among the dead. Completed ones run again if --state says so.

    \b
    queuectl retry job1
    queuectl retry --all-failed
    queuectl retry --batch nightly --state dead
    queuectl retry last --state completed
    """
    if all_failed:
        if chosen.ids or chosen.states:
            raise click.UsageError("--all-failed says which jobs; leave the ids and --state away")
        chosen = Selection(spool, batch=chosen.batch, states=["failed"], name=chosen.name)
    again = "completed" in chosen.states
    able = ("failed", "dead", "completed") if again else ("failed", "dead")
    choose.each(
        chosen,
        able,
        lambda entry: (
            f"{entry.name.id} pending" if actions.retry(spool, entry, again=again) else None
        ),
    )
