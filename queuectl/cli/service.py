"""queuectl worker install and uninstall: a systemd service."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable
from typing import Any

import click

from queuectl import disk, host, paths, service
from queuectl.cli import Command, show
from queuectl.errors import QueuectlError, Wrong
from queuectl.spool import Spool


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed([
        click.option("--user", is_flag=True, help="A service of yours."),
        click.option("--system", is_flag=True, help="A service of the machine."),
        click.option("--name", metavar="NAME", help="For queuectl-NAME.service.  [default: queuectl.service]"),
        click.option("--directory", metavar="DIR", help="Where the unit is, if not where systemd looks first."),
        click.option("--now", is_flag=True, help="Run the systemctl commands, too."),
    ]):  # fmt: skip
        command = option(command)
    return command


@click.command("install", cls=Command)
@_options
@click.option(
    "--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="Workers to run."
)
@click.option(
    "--set", "values", multiple=True, metavar="KEY=VALUE", help="A setting, for these workers only."
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How events are logged.",
)
@click.option("--force", is_flag=True, help="Replace a unit that says other things.")
@click.option("--print", "only_print", is_flag=True, help="Print the unit, and do nothing.")
@click.pass_obj
def install(
    spool: Spool,
    /,
    user: bool,
    system: bool,
    name: str | None,
    directory: str | None,
    now: bool,
    **options: Any,
) -> None:
    """Write a systemd unit that runs workers of this spool, and say how to start it.

    With --user they run as you, from your next login on; with --system as the owner of the spool, from the next boot on.
    The unit starts this very queuectl, and a stop waits until the running jobs have ended. Its log is in the journal.

    \b
    queuectl worker install --user --count 4
    queuectl --spool /srv/jobs worker install --system --name jobs --print
    """
    _say_one(user, system)
    unit_name = _unit_name(name)
    spool.open().guard(allow_root=True)  # for --system they do not run as who installs them
    owner = host.user(disk.owner(spool.path))
    unit = service.Unit(spool.path, _command(spool, **options), owner if system else "")
    if options["only_print"]:
        click.echo(unit.text(), nl=False)
        return
    path = _path(system, directory, unit_name)
    is_new = service.install(path, unit, force=options["force"])
    click.echo(path)
    if not is_new:
        click.echo("it was there already", err=True)
    _systemctl(
        system, ["daemon-reload"], ["enable", "--now", path if directory else unit_name], now=now
    )
    if not system and not now:
        click.echo(
            "so that they run while you are not logged in, too: loginctl enable-linger", err=True
        )


@click.command("uninstall", cls=Command)
@_options
def uninstall(user: bool, system: bool, name: str | None, directory: str | None, now: bool) -> None:
    """Remove a unit that `queuectl worker install` wrote. With --now its workers are stopped first, after their jobs.

    \b
    queuectl worker uninstall --user --now
    queuectl worker uninstall --system --name jobs
    """
    _say_one(user, system)
    unit_name = _unit_name(name)
    path = _path(system, directory, unit_name)
    if now and service.read(path) is not None:
        _systemctl(system, ["disable", "--now", unit_name], now=True)
    service.uninstall(path)
    click.echo(f"removed {path}")
    _systemctl(
        system, *([] if now else [["disable", "--now", unit_name]]), ["daemon-reload"], now=now
    )


def _say_one(user: bool, system: bool) -> None:
    if user == system:
        raise click.UsageError(
            "say either --user (a service of yours) or --system (one of the machine, as root)"
        )


def _unit_name(name: str | None) -> str:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9:_.-]{1,200}", name):
        raise Wrong(
            f"--name {name!r}: only letters, digits and : _ . - may be in the name of a unit"
        )
    return f"queuectl-{name}.service" if name else "queuectl.service"


def _path(system: bool, directory: str | None, unit_name: str) -> str:
    if directory is not None:
        return os.path.join(show.absolute("--directory", directory), unit_name)
    return os.path.join(service.directory(is_system=system), unit_name)


def _command(
    spool: Spool, count: int, values: tuple[str, ...], log_format: str, **_: Any
) -> list[str]:
    """The words that start the workers: this very program, wherever it is."""
    from queuectl.cli.worker import flags

    flags(values)
    program = paths.absolute(sys.argv[0])
    is_script = os.path.basename(program) == "queuectl" and os.access(program, os.X_OK)
    ours = [program] if is_script else [sys.executable, "-P", "-m", "queuectl"]
    words = [
        *ours,
        "--spool",
        spool.path,
        "worker",
        "start",
        "--count",
        str(count),
        "--log-format",
        log_format,
    ]
    return words + [word for value in values for word in ("--set", value)]


def _systemctl(system: bool, *commands: list[str], now: bool) -> None:
    """Say which commands of systemctl are left to do, or do them."""
    lines = [["systemctl", *([] if system else ["--user"]), *command] for command in commands]
    if not now:
        click.echo("now run: " + " && ".join(shlex.join(line) for line in lines), err=True)
        return
    for line in lines:
        sys.stdout.flush()
        code = os.spawnvp(os.P_WAIT, line[0], line)
        if code:
            why = (
                "there is no systemctl on the PATH"
                if code == 127
                else f"exit code {code}; see above"
            )
            raise QueuectlError(f"{shlex.join(line)} failed ({why}); run it by hand")
