"""queuectl config: the settings of a spool."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import click

from queuectl import config
from queuectl.cli import Group, complete, show
from queuectl.errors import SpoolMissing
from queuectl.spool import Spool


@click.group("config", cls=Group)
def config_() -> None:
    """Settings of the spool. Workers pick up changes without a restart.

    A variable such as QUEUECTL_MAX_RETRIES beats config.json, and that beats the default.

    \b
    queuectl config list
    queuectl config set max-retries 5
    """


@config_.command("list")
@show.json_option
@click.pass_obj
def list_settings(spool: Spool, /, as_json: bool) -> None:
    """All settings as they are in force. Without a spool: the defaults, and what variables say.

    \b
    queuectl config list
    queuectl config list --json
    """
    values = config.shown(_in_force(spool))
    if as_json:
        show.document(values)
        return
    rows = [(name, _text(value), config.kind(name).help) for name, value in values.items()]
    show.table(["SETTING", "VALUE", "MEANING"], rows, whole=True)


@config_.command("get")
@click.argument("key", shell_complete=complete.settings)
@show.json_option
@click.pass_obj
def get(spool: Spool, /, key: str, as_json: bool) -> None:
    """The value of one setting that is in force. Without a spool: the default, or what a variable says.

    \b
    queuectl config get max-retries
    queuectl config get keep_completed --json
    """
    settings = _in_force(spool)
    name = config.key(key)
    value = (
        settings.poll_interval * 1000
        if name == "poll_interval_ms"
        else config.shown(settings).get(name)
        if name in config.SETTINGS
        else settings.limit(name.removeprefix(config.LIMIT))
    )
    if as_json:
        show.document(value)
    else:
        click.echo(_text(value))


@config_.command(
    "set", context_settings={"ignore_unknown_options": True}
)  # a value may begin with "-"
@click.argument("key", shell_complete=complete.settings)
@click.argument("value")
@click.pass_obj
def set_(spool: Spool, /, key: str, value: str) -> None:
    """Change a setting. It must be of its type and within its range.

    \b
    queuectl config set max-retries 5
    queuectl config set keep_completed 30d
    """
    name, checked = config.read(key, value)
    spool.make()
    config.change(spool.at("config.json"), spool.temporary(), {name: checked})
    _heed(spool, name)
    click.echo(f"{name} = {_text(config.kind(name).show(checked))}")


@config_.command("unset")
@click.argument("key", shell_complete=complete.settings)
@click.pass_obj
def unset(spool: Spool, /, key: str) -> None:
    """Go back to the default of a setting.

    \b
    queuectl config unset max-retries
    queuectl config unset timeout
    """
    name = config.key(key).removesuffix("_ms")
    config.change(spool.open().at("config.json"), spool.temporary(), {}, remove=(name,))
    _heed(spool, name)
    click.echo(f"{name} = {_text(config.shown(spool.settings()).get(name, 1))}")


def _in_force(spool: Spool) -> config.Settings:
    """The settings of a spool; where there is none yet, those that it would have."""
    with contextlib.suppress(SpoolMissing):
        spool.open()
    return spool.settings()


def _text(value: Any) -> str:
    """A value as `config set` takes it."""
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def _heed(spool: Spool, name: str) -> None:
    """With another limit more jobs may run now."""
    if name.startswith(config.LIMIT):
        from queuectl import blocked  # few changes are of limits

        blocked.sweep(spool)
