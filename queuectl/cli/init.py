"""queuectl init: making a spool."""

from __future__ import annotations

import click

from queuectl import probe
from queuectl.cli import Command
from queuectl.errors import SpoolUnusable, Wrong
from queuectl.spool import Spool


@click.command("init", cls=Command)
@click.argument("directory", required=False)
@click.option(
    "--shared",
    metavar="GROUP",
    help="Let members of GROUP submit jobs, by files in DIRECTORY/inbox.",
)
@click.pass_obj
def init_(spool: Spool, /, directory: str | None, shared: str | None) -> None:
    """Make a spool at DIRECTORY, or at the place that --spool or QUEUECTL_SPOOL names. One that is there stays as it is.

    The first `enqueue`, `worker start` or `config set` does this as well. What members of GROUP drop into the inbox runs
    as the owner of the workers, and is stamped with their name; they cannot look at jobs, nor at each other's.

    \b
    queuectl init
    queuectl init /srv/jobs --shared lab
    """
    import grp

    spool = spool if directory is None else Spool(directory)
    try:
        group = grp.getgrnam(shared).gr_gid if shared else None
    except KeyError:
        raise Wrong(f"--shared: no group {shared!r} on this machine") from None
    is_new = not spool.exists()
    spool.make()
    for fault in probe.probe(spool):
        if fault.is_fatal:
            if is_new:
                spool.unmake()
            raise SpoolUnusable(f"{fault.what}; {fault.cure}")
        click.echo(f"queuectl: warning: {fault.what}; {fault.cure}", err=True)
    if (use := probe.use(spool)).shared:
        click.echo(f"queuectl: {use}", err=True)
    if group is not None:
        spool.share(group)
    click.echo(spool.path)
