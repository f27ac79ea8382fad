"""queuectl dlq: the dead letter queue."""

from __future__ import annotations

from functools import partial

import click

from queuectl import actions, lookup
from queuectl.cli import Command, Group, choose, complete, show
from queuectl.cli.act import removed
from queuectl.cli.look import show_
from queuectl.layout import Entry
from queuectl.selection import Selection
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


def _chosen(spool: Spool, ids: tuple[str, ...], everything: bool) -> Selection:
    if bool(ids) == everything:
        raise click.UsageError("name the jobs, or say --all")
    return Selection(spool.open(), ids=list(dict.fromkeys(ids)), states=() if ids else ["dead"])


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

    choose.each(
        _chosen(spool, ids, everything),
        ("dead",),
        lambda entry: f"{entry.name.id} pending" if actions.revive(spool, entry) else None,
    )


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

    def purge(entry: Entry) -> str | None:
        actions.must_be_dead(entry)
        return removed(spool, entry)

    choose.each(_chosen(spool, ids, everything), ("dead",), purge, asks=not yes)
