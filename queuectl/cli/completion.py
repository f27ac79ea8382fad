"""queuectl completion: what teaches a shell the Tab key."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from queuectl.cli import Command


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_(shell: str) -> None:
    """Print a script that completes commands, options and names by the Tab key.

    Names are ids of jobs, batches, schedules, workers and settings. Put the script where your shell looks for such, and again
    after an update: ~/.local/share/bash-completion/completions/queuectl, ~/.config/fish/completions/queuectl.fish, a file
    _queuectl on the fpath of zsh. Or let your start-up file evaluate it.

    \b
    queuectl completion bash
    queuectl completion fish
    """
    from queuectl.cli import cli

    found = get_completion_class(shell)
    assert found
    click.echo(found(cli, {}, "queuectl", "_QUEUECTL_COMPLETE").source(), nl=False)
