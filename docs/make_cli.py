"""Write docs/cli.md from the help of the commands: python docs/make_cli.py"""

from pathlib import Path

import click
from click.testing import CliRunner

TARGET = Path(__file__).parent / "cli.md"

HEAD = """\
# Commands and settings

Made from `queuectl --help` by `python docs/make_cli.py`; a test compares the two.

Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 refused or failed; 2 wrong words or a JSON argument that is wrong; 3 no such
job; 4 the id is taken. `wait` answers with the job's own code. An option that takes one value is refused when it is given twice.

## Settings

`queuectl config set NAME VALUE` changes one; `QUEUECTL_NAME` in the environment beats it, `worker start --set NAME=VALUE` beats both. Hyphens and
underscores are the same; `poll_interval_ms` is accepted and sets `poll_interval`. Times are seconds or texts such as `10m`.

| setting | default | meaning |
|---|---|---|
"""


def commands(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    """A command and those below it, each with its whole name."""
    found = [(path, command)]
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                below = command.get_command(ctx, name)
                assert below
                found += commands(below, f"{path} {name}")
    return found


def text() -> str:
    """The whole page."""
    from queuectl import config
    from queuectl.cli import cli

    shown = config.shown(config.Settings())
    page = HEAD + "".join(
        f"| `{name}` | {shown[name]} | {kind.help} |\n" for name, kind in config.SETTINGS.items()
    )
    for path, _ in commands(cli, "queuectl"):
        words = [*path.split()[1:], "--help"]
        help = CliRunner().invoke(
            cli, words, prog_name="queuectl", terminal_width=120, max_content_width=120
        )
        page += f"\n## {path}\n\n```text\n{help.output}```\n"
    return page


if __name__ == "__main__":
    TARGET.write_text(text())
