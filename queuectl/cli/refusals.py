"""Refusals of many jobs: the first three of a kind, then how many more there are, and which."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from queuectl.errors import QueuectlError

#: The lines that are printed for each kind of refusal, and the characters in which the others are named.
SHOWN, ROOM = 3, 200

#: What differs between refusals of one kind: texts in quotes, and words with digits.
_DIFFERENT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s:]*\d[^\s:]*""")


class Refusals:
    """Refusals as they come; each has a place: the id of a job, or the number of what `what` names.

    `codes` are their exit codes. `close` says how many were not printed.
    """

    def __init__(self, what: str = "") -> None:
        self.codes: list[int] = []
        self._what = what
        self._places: dict[tuple[type, str], list[str | int]] = {}

    def add(self, error: QueuectlError, place: str | int) -> None:
        """Print a refusal, unless some of its kind were printed."""
        self.codes.append(error.exit_code)
        kind = _DIFFERENT.sub(
            "", str(error).replace(str(place), "") if not self._what else str(error)
        )
        places = self._places.setdefault((type(error), kind), [])
        places.append(place)
        if len(places) <= SHOWN:
            where = f"{self._what} {place}: " if self._what else ""
            click.echo(f"queuectl: {where}{error}", err=True)

    def close(self) -> None:
        """Say how many more there were of each kind."""
        for places in self._places.values():
            if more := places[SHOWN:]:
                like = f"{self._what} {places[0]}".lstrip()
                click.echo(f"queuectl: {len(more)} more like {like}: {_listed(more)}", err=True)


def _listed(places: Sequence[str | int]) -> str:
    """Places in a line: numbers in a row as 4-40, names one by one, the last of too many left out."""
    rows: list[list[str | int]] = []
    for place in places:
        if rows and isinstance(place, int) and place - 1 == rows[-1][-1]:
            rows[-1][1:] = [place]
        else:
            rows.append([place])
    text = ", ".join("-".join(map(str, row)) for row in rows)
    return text if len(text) <= ROOM else text[:ROOM].rpartition(", ")[0] + ", ..."
