"""queuectl cancel, remove, prune, pause, resume: doing."""

from __future__ import annotations

import click

from queuectl import actions
from queuectl.cli import Command, choose, show
from queuectl.layout import ENDED, STATES, Entry
from queuectl.selection import Selection
from queuectl.spool import Spool

#: The states of jobs that can be cancelled, and of those that can be removed.
ALIVE = tuple(state for state in STATES if state not in ENDED)
RESTING = tuple(state for state in STATES if state != "processing")


@click.command("cancel", cls=Command)
@choose.jobs
def cancel_(spool: Spool, chosen: Selection) -> None:
    """Cancel jobs: a waiting one goes to the dead letters, a running one is ended first (TERM, then KILL).

    It can be brought back with `queuectl retry ID`. A job that is running is only asked to end: `queuectl wait ID`
    says when it has.

    \b
    queuectl cancel job1 && queuectl wait job1
    queuectl cancel --batch nightly
    """

    def cancel(entry: Entry) -> str:
        id = entry.name.id
        return (
            f"{id} cancelled"
            if actions.cancel(spool, id, entry) == "cancelled"
            else f"{id} is running and has been told to end"
        )

    choose.each(chosen, ALIVE, cancel)


@click.command("remove", cls=Command)
@choose.jobs
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_(spool: Spool, chosen: Selection, /, yes: bool) -> None:
    """Remove jobs from the spool, with their logs and history; their ids are free again. A running job is refused.

    If options choose the jobs, it asks on a terminal; elsewhere it wants --yes. Jobs that wait for a removed job
    can never run and go to the dead letters.

    \b
    queuectl remove job1 job2
    queuectl remove --batch nightly --state completed --yes
    """
    choose.each(chosen, RESTING, lambda entry: removed(spool, entry), asks=not (yes or chosen.ids))


def removed(spool: Spool, entry: Entry) -> str | None:
    """Remove one job and say so; None: it was not there any more."""
    done = actions.remove(spool, entry)
    if done is None:
        return None
    if done.waited:
        click.echo(
            f"queuectl: note: {done.waited} jobs waited for {entry.name.id} and can never run now",
            err=True,
        )
    return f"{entry.name.id} removed"


@click.command("prune", cls=Command)
@show.json_option
@click.pass_obj
def prune_(spool: Spool, /, as_json: bool) -> None:
    """Remove ended jobs that are past the settings keep_completed, keep_completed_count and keep_dead.

    So are rejected drops and logs of background supervisors after keep_dead, and events after keep_events. Supervisors do
    the same every prune_interval.

    \b
    queuectl prune
    QUEUECTL_KEEP_COMPLETED=1d queuectl prune --json
    """
    pruned = actions.prune(spool.open(), spool.settings(), spool.now())
    if as_json:
        show.document(pruned)
    else:
        days = f", {pruned['events']} days of events" if pruned["events"] else ""
        click.echo(
            f"removed {pruned['completed']} completed, {pruned['dead']} dead, {pruned['rejected']} rejected{days}"
        )


@click.command("pause", cls=Command)
@click.pass_obj
def pause_(spool: Spool, /) -> None:
    """Let no job begin until `queuectl resume`, on any host; those that run go on, and enqueueing does.

    \b
    queuectl pause
    queuectl --spool /srv/jobs pause
    """
    click.echo("paused" if actions.pause(spool.open()) else "paused already", err=True)


@click.command("resume", cls=Command)
@click.pass_obj
def resume_(spool: Spool, /) -> None:
    """Let jobs begin again after `queuectl pause`.

    \b
    queuectl resume
    queuectl --spool /srv/jobs resume
    """
    click.echo("resumed" if actions.resume(spool.open()) else "it was not paused", err=True)
