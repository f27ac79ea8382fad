"""How commands print: one JSON document, or a table with colour on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from queuectl import columns, paths, render, units
from queuectl.errors import QueuectlError, Wrong
from queuectl.spool import Spool

#: The option that every command has which shows something.
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def absolute(option: str, path: str) -> str:
    """The absolute path that the value of an option means."""
    try:
        return paths.absolute(path)
    except ValueError as error:
        raise Wrong(f"{option} {path!r}: {error}") from None


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

    A terminal that is too narrow shortens names and sentences, or with `whole` folds them. A pipe gets all of it.
    """
    encoding = sys.stdout.encoding or "utf-8"
    cells = [
        [
            render.printable(cell).encode(encoding, "backslashreplace").decode(encoding)
            for cell in row
        ]
        for row in rows
    ]
    is_terminal = sys.stdout.isatty()
    width = _width() if is_terminal else 0
    shown = columns.table(head, cells, width, whole=whole)
    if not render.is_text(columns.MARK, encoding):
        shown = [line.replace(columns.MARK, "~") for line in shown]
    paints = is_terminal and may_colour() and os.environ.get("TERM") != "dumb"
    words = ["head", *(colour(row) if colour else "" for row in rows)]
    for word, line in zip(words, shown, strict=True):
        click.echo(render.paint(line, word, colour=paints))


def _width() -> int:
    """The columns of the terminal that is our stdout, or what COLUMNS says."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    return os.get_terminal_size(sys.stdout.fileno()).columns or 80


def may_colour() -> bool:
    """Whether people have not forbidden colours; an empty NO_COLOR says nothing."""
    return not os.environ.get("NO_COLOR")


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
    from queuectl.cli.refusals import Refusals  # only what acts on jobs needs it

    refusals = Refusals()
    for id in ids:
        try:
            click.echo(act(id))
        except QueuectlError as error:
            refusals.add(error, id)
    refusals.close()
    if refusals.codes:
        raise click.exceptions.Exit(refusals.codes[0])


def command(record: dict[str, Any]) -> str:
    """The command of a job's record, as a person would type it."""
    value = record["command"]
    return "(cannot be read)" if value is None else render.command(value)


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


class Pause:
    """Tells somebody who waits that the spool is paused, once each time that it becomes so."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self._is_told = spool, False

    def look(self) -> None:
        """Say it on stderr, if it has become so."""
        is_paused = self._spool.is_paused()
        if is_paused and not self._is_told:
            click.echo(
                "queuectl: note: the spool is paused; nothing starts until 'queuectl resume'",
                err=True,
            )
        self._is_told = is_paused
