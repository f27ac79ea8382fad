"""queuectl dashboard: the web server."""

from __future__ import annotations

import os
import stat

import click

from queuectl.cli import Command
from queuectl.errors import QueuectlError, Wrong
from queuectl.spool import Spool

#: Bytes of the longest password, and characters of the shortest.
LONGEST, SHORTEST = 4096, 8


@click.command("dashboard", cls=Command)
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="At which port; 0: any that is free.",
)
@click.option(
    "--allow-actions",
    is_flag=True,
    help="Let readers retry, cancel, remove and enqueue jobs, and stop workers.",
)
@click.option(
    "--password-file",
    metavar="FILE",
    help="Ask for the password in the first line of FILE, by HTTP basic; any user name.",
)
@click.option(
    "--public-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Another name it is reached by, such as a proxy's.",
)
@click.pass_obj
def dashboard_(
    spool: Spool,
    /,
    host: str,
    port: int,
    allow_actions: bool,
    password_file: str | None,
    names: tuple[str, ...],
) -> None:
    """Show the spool in a browser, until told to stop. Needs `pip install 'queuectl[web]'`.

    It only shows, unless --allow-actions. Whoever can enqueue jobs runs commands as the workers; without a password that is
    every user of this machine. It listens beyond this machine only with --password-file; the password then crosses the
    network as it is, unless a proxy before it speaks HTTPS.

    \b
    queuectl dashboard
    queuectl dashboard --port 9000 --allow-actions --password-file ~/.queuectl-password
    """
    try:
        from queuectl.dashboard.app import serve
        from queuectl.dashboard.desk import Options
    except ImportError as error:
        raise QueuectlError(
            f"the dashboard needs more packages ({error.name} is missing); pip install 'queuectl[web]'"
        ) from None
    spool.open().settings()
    password = None if password_file is None else _password(password_file)
    if allow_actions and password is None:
        click.echo(
            "queuectl: warning: without --password-file every user of this machine can run commands as the workers",
            err=True,
        )
    serve(
        spool,
        Options(host, port, allow_actions, password, names),
        lambda url: click.echo(f"dashboard at {url}", err=True),
    )


def _password(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            password = file.readline(LONGEST).strip()
    except OSError as error:
        raise Wrong(f"--password-file: cannot read {path}: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise Wrong(f"--password-file: others can read {path}; 'chmod 600 {path}'")
    if len(password) < SHORTEST:
        raise Wrong(
            f"--password-file: the first line of {path} must be a password of {SHORTEST} characters or more"
        )
    return password
