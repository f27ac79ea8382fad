"""queuectl metrics, events: for those who watch over a spool."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import click

from queuectl import disk, events, host, liveness, lookup, metrics, render
from queuectl.cli import Command
from queuectl.errors import Wrong
from queuectl.spool import Spool

#: Seconds between two looks of `events --follow`.
PAUSE = 0.1


@click.command("metrics", cls=Command)
@click.option(
    "--textfile",
    metavar="FILE",
    help="Write them into FILE, whole or not at all, for the textfile collector of node_exporter.",
)
@click.pass_obj
def metrics_(spool: Spool, /, textfile: str | None) -> None:
    """How the spool is, for Prometheus. Needs `pip install 'queuectl[web]'`.

    What is now is counted from names. What has happened (attempts, run times) is added up from the events, if the setting
    events is on; the sums are kept in events/totals.json, so that they never fall. The dashboard has the same at /metrics.

    \b
    queuectl metrics
    queuectl metrics --textfile /var/lib/node_exporter/queuectl.prom
    """
    from queuectl.census import Census

    census = Census(spool.open())
    census.look()
    text = metrics.text(spool, census.report(), lookup.workers(spool, liveness.Observer(spool)))
    if textfile is None:
        click.echo(text, nl=False)
        return
    if os.path.isdir(textfile):
        raise Wrong(f"--textfile: {textfile} is a directory; name a file in it that ends in .prom")
    # The collector reads what ends in .prom; it runs as another user.
    temporary = f"{os.path.abspath(textfile)}.{os.getpid()}.{host.nonce()}"
    disk.write(temporary, text, durable=False)
    disk.share(temporary, os.getegid(), 0o644)
    disk.replace(temporary, textfile)


@click.command("events", cls=Command)
@click.option(
    "-f", "--follow", is_flag=True, help="Show what happens from now on, until told to stop."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def events_(spool: Spool, /, follow: bool, as_json: bool) -> None:
    """What has happened to jobs, oldest first: a line for each change of state.

    Only what happened while the setting events was on, and was not pruned since (keep_events). `mv` and `rm` by hand
    tell nobody, and a full disk loses lines: the directories are what is so.

    \b
    queuectl config set events on && queuectl events --follow
    queuectl events --json
    """
    directory = spool.open().at("events")
    if spool.settings().events == "off":
        click.echo(
            "queuectl: warning: the setting events is off; 'queuectl config set events on'",
            err=True,
        )
    found = _following(directory) if follow else events.read(directory, {})
    with contextlib.suppress(KeyboardInterrupt):
        for event in found:
            click.echo(json.dumps(event) if as_json else _line(event))


def _following(directory: str) -> Iterator[dict[str, Any]]:
    places = events.ends(directory)
    while True:
        yield from events.read(directory, places)
        time.sleep(PAUSE)


def _line(event: dict[str, Any]) -> str:
    details = {
        key: value
        for key, value in event.items()
        if key not in ("time", "event", "job", "by") and value is not None
    }
    words = [f"{key}={render.printable(str(value))}" for key, value in details.items()]
    return render.printable(
        " ".join(
            [
                str(event.get("time")),
                f"{event.get('event')!s:<10}",
                str(event.get("job") or "-"),
                *words,
            ]
        )
    )
