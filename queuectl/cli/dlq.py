"""queuectl dlq: the dead letter queue."""

from __future__ import annotations

import sys
from functools import partial

import click

from queuectl import actions, lookup
from queuectl.cli import Command, Group, choose, complete, show
from queuectl.cli.look import show_
from queuectl.errors import NoSuchJob, WrongState
from queuectl.layout import Entry
from queuectl.spool import Spool


@click.group("dlq", cls=Group)
def dlq_() -> None:
    """The dead letters: jobs out of retries, or cancelled. They stay until they are retried or purged.

    \b
    queuectl dlq list
    queuectl dlq retry --all
    """


@dlq_.command("list")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="At most so many; 0: all.",
)
@show.json_option
@click.pass_obj
def list_dead(spool: Spool, /, limit: int, as_json: bool) -> None:
    """List dead jobs, newest first, with name and command, the reason and the last line of stderr.

    \b
    queuectl dlq list
    queuectl dlq list --json
    """
    settings = spool.open().settings()
    records = []
    for entry in choose.first(partial(lookup.select, spool, ("dead",)), limit):
        run = lookup.last_run(spool, entry) or {}
        why = {
            "outcome": run.get("outcome"),
            "reason": run.get("reason"),
            "stderr_tail": run.get("stderr_tail"),
        }
        records.append(lookup.record(spool, entry, settings) | why)
    if as_json:
        show.document(records)
        return
    if not records:
        click.echo("no dead letters", err=True)
        return
    rows = [
        (
            r["id"],
            f"{r['attempts']}/{r['max_retries']}",
            r["updated_at"][:19] + "Z",
            f"{r['name']}: {show.command(r)}" if r["name"] else show.command(r),
            _why(r),
        )
        for r in records
    ]
    show.table(["ID", "TRIES", "DIED", "COMMAND", "REASON"], rows)


def _why(record: lookup.Record) -> str:
    """The reason and the last line of stderr."""
    lines = (record["stderr_tail"] or "").strip().splitlines()
    return ": ".join([record["reason"] or "no reason recorded", *lines[-1:]])


# The same command, with examples of its own.
dlq_.add_command(
    Command(
        "show",
        callback=show_.callback,
        params=show_.params,
        help=(show_.help or "").replace("queuectl show", "queuectl dlq show"),
    )
)


def _chosen(spool: Spool, ids: tuple[str, ...], everything: bool) -> list[str]:
    if bool(ids) == everything:
        raise click.UsageError("name the jobs, or say --all")
    return [entry.name.id for entry in spool.entries("dead")] if everything else list(ids)


def _dead(spool: Spool, id: str) -> Entry:
    entry = lookup.find(spool, id)
    if entry.state != "dead":
        raise WrongState(
            f"job {entry.name.id} is {entry.state}, not dead; 'queuectl dlq list' shows the dead ones"
        )
    return entry


@dlq_.command("retry")
@click.argument("ids", nargs=-1, metavar="ID...", shell_complete=complete.ids)
@click.option("--all", "everything", is_flag=True, help="Every dead job.")
@click.pass_obj
def retry(spool: Spool, /, ids: tuple[str, ...], everything: bool) -> None:
    """Bring dead jobs back: pending now, with all their attempts again. Their history stays.

    \b
    queuectl dlq retry job1
    queuectl dlq retry --all
    """

    def bring_back(id: str) -> str:
        entry = _dead(spool, id)
        if actions.revive(spool, entry) is None:
            raise NoSuchJob(id, spool.path)
        return f"{entry.name.id} pending"

    show.each(_chosen(spool.open(), ids, everything), bring_back)


@dlq_.command("purge")
@click.argument("ids", nargs=-1, metavar="ID...", shell_complete=complete.ids)
@click.option("--all", "everything", is_flag=True, help="Every dead job.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def purge(spool: Spool, /, ids: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Remove dead jobs for good, with their logs and history.

    Asks on a terminal; elsewhere it wants --yes.

    \b
    queuectl dlq purge job1 --yes
    queuectl dlq purge --all
    """
    chosen = _chosen(spool.open(), ids, everything)
    if chosen and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("say --yes to remove them for good")
        click.confirm(f"Remove {len(chosen)} dead jobs for good?", abort=True, err=True)

    def remove(id: str) -> str:
        entry = _dead(spool, id)
        if not actions.remove(spool, entry):
            raise NoSuchJob(id, spool.path)
        return f"{entry.name.id} removed"

    show.each(chosen, remove)
