"""How commands print: one JSON document, or a table with colour on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from queuectl import render, units
from queuectl.errors import QueuectlError

#: The most letters of a cell in a column that is not cut while others can be.
LONG = 24

#: The option that every command has which shows something.
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def document(value: Any) -> None:
    """Print a value as JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # The name of a drop may hold bytes that are no text, and our stdout know few letters.
    click.echo(text if render.is_text(text, sys.stdout.encoding) else json.dumps(value, indent=2))


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    colour: Callable[[Sequence[str]], str] | None = None,
    *,
    whole: bool = False,
) -> None:
    """Print rows in columns; on a terminal with colours, `colour` names the word that gives a row its colour.

    Where the terminal is too narrow sentences are cut, not ids and times; or with `whole` they get more lines.
    """
    rows = [[render.printable(cell) for cell in row] for row in rows]
    if not _is_rich():
        click.echo(render.table(head, rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="dim")
    for index, title in enumerate(head):
        drawn.add_column(
            title, no_wrap=not index or max((len(row[index]) for row in rows), default=0) <= LONG
        )
    styles = {"32": "green", "33": "yellow", "31": "red", "36": "cyan"}
    for row in rows:
        style = styles.get(render.COLOURS.get(colour(row), "")) if colour else None
        drawn.add_row(
            *(Text(cell, style=style or "", no_wrap=not whole, overflow="ellipsis") for cell in row)
        )
    Console().print(drawn)


def may_colour() -> bool:
    """Whether people have not forbidden colours; an empty NO_COLOR says nothing."""
    return not os.environ.get("NO_COLOR")


def _is_rich() -> bool:
    return sys.stdout.isatty() and may_colour() and os.environ.get("TERM") != "dumb"


def fields(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print names and values, one pair a line; what is None is left out."""
    pairs = [(name, value) for name, value in pairs if value is not None]
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name.ljust(width)}  {render.printable(str(value))}")


def block(title: str, text: str) -> None:
    """Print what a command printed, indented; control characters are shown, not obeyed."""
    if text:
        click.echo(f"  {title}:")
        for line in text.splitlines():
            click.echo(f"    {render.printable(line)}")


def each(ids: Sequence[str], act: Callable[[str], str]) -> None:
    """Do something to each job and print what was done; a refusal is printed and the others go on.

    The first refusal gives the exit code.
    """
    codes = []
    for id in ids:
        try:
            click.echo(act(id))
        except QueuectlError as error:
            click.echo(f"queuectl: {error}", err=True)
            codes.append(error.exit_code)
    if codes:
        raise click.exceptions.Exit(codes[0])


def workers(found: list[dict[str, Any]]) -> None:
    """Print workers as a table."""
    ages = [None if w["heartbeat_age"] is None else units.ago(w["heartbeat_age"]) for w in found]
    rows = [
        (
            w["name"],
            w["host"] or "?",
            str(w["pid"] or "?"),
            "alive" if w["alive"] else "dead",
            w["job"] or "-",
            age or "-",
        )
        for w, age in zip(found, ages, strict=True)
    ]
    table(
        ["WORKER", "HOST", "PID", "STATE", "JOB", "HEARTBEAT"],
        rows,
        lambda row: "dead" if row[3] == "dead" else "",
    )
