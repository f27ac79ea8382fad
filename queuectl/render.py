"""What people read: log lines, names and commands, as text. Pure; whoever calls it prints.

Leaves to others
    where it goes (cli, log); JSON for programs (cli).
Raises
    nothing.
"""

from __future__ import annotations

import functools
import json
import time
from typing import Any

from queuectl import units

#: Terminal colours of events, states and the heads of tables.
COLOURS = {
    "completed": "32",
    "failed": "33",
    "timeout": "33",
    "stuck": "33",
    "warning": "33",
    "rescued": "33",
    "dead": "31",
    "rejected": "31",
    "worker_died": "31",
    "cancelled": "31",
    "processing": "36",
    "started": "36",
    "head": "2",
}


def paint(text: str, word: str, *, colour: bool) -> str:
    """`text` in the colour of `word`."""
    code = COLOURS.get(word) if colour else None
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def event(
    form: str, now: float, what: str, details: dict[str, Any], *, colour: bool = False
) -> str:
    """One line of a log: JSON, or the local time, the event, and key=value for the rest."""
    if form == "json":
        return json.dumps({"time": units.iso(now), "event": what, **details}) + "\n"
    words = [_clock(int(now)), paint(f"{what:<9}", what, colour=True) if colour else f"{what:<9}"]
    if "job" in details:
        words.append(str(details["job"]))
    for key, value in details.items():
        if key != "job":
            text = f"{value:.3f}" if type(value) is float else str(value)
            words.append(
                f"{key}={text}"
                if text.isprintable() and text and " " not in text
                else f"{key}={_quoted(text)}"
            )
    return " ".join(words) + "\n"


@functools.lru_cache(maxsize=16)
def _clock(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def _quoted(text: str) -> str:
    text = printable(text)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text


def printable(text: str) -> str:
    """`text` in one line, without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text
    )


def is_text(value: str, encoding: str = "utf-8") -> bool:
    """Whether the encoding can hold `value`: a name or a variable may be other bytes."""
    return value.encode(encoding, "replace").decode(encoding) == value


def short(text: str, width: int) -> str:
    """`text` in one line of at most `width` characters."""
    text = printable(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def command(value: str | list[str] | tuple[str, ...]) -> str:
    """A command as a person would type it."""
    import shlex

    return value if isinstance(value, str) else shlex.join(value)
