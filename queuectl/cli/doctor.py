"""queuectl doctor."""

from __future__ import annotations

import click

from queuectl import doctor, probe
from queuectl.cli import Command, show
from queuectl.spool import Spool


@click.command("doctor", cls=Command)
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@show.json_option
@click.pass_obj
def doctor_(spool: Spool, /, fix: bool, as_json: bool) -> None:
    """Say what is wrong with the spool, and mend it with --fix. Workers may go on meanwhile.

    It also says on stderr whether several hosts count as users of the spool, and why; the setting
    `shared` decides otherwise.

    Exit code 0: healthy, or mended; 1: something is wrong.

    \b
    queuectl doctor
    queuectl doctor --fix --json
    """
    found, use = doctor.examine(spool, fix=fix), probe.use(spool)
    left = [finding for finding in found if not finding.fixed]
    if as_json:
        findings = [finding._asdict() for finding in found]
        show.document({"healthy": not left, "findings": findings, "file_system": use._asdict()})
    elif not found:
        click.echo("healthy")
    else:
        rows = [
            (
                "mended" if finding.fixed else "wrong",
                finding.check,
                finding.what,
                "" if finding.fixed else finding.cure,
            )
            for finding in found
        ]
        show.table(
            ["", "CHECK", "WHAT", "CURE"],
            rows,
            lambda row: "completed" if row[0] == "mended" else "dead",
            whole=True,
        )
    if not as_json:
        click.echo(f"queuectl: {use}", err=True)
    if left:
        raise click.exceptions.Exit(1)
