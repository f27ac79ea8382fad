"""Templates: one job for each index of an array, or for each line of a file. Pure.

`{}` in the command, the id, the name, the unique key and the predecessors is replaced.
An index is put in as it is. A line is data: in a list of words it is (part of) a word; in a
command for the shell it is quoted here, so that the shell sees exactly the line.

Promises
    The shell takes no character of a line for anything but itself.
    Where we cannot be certain how the shell reads a place (inside quotes, after a `#`, a
    `<<`, a backquote, arithmetic), a line is refused there; the variable QUEUECTL_LINE has it, too.
Leaves to others
    what a job may say (job); what a command does with its words (eval, awk, ssh read them again).
Raises
    InvalidJob; ValueError for an array that is none.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from queuectl.errors import InvalidJob

#: What is replaced.
SLOT = "{}"

#: The variables that say the index, and the line.
INDEX, LINE = "QUEUECTL_ARRAY_INDEX", "QUEUECTL_LINE"

#: The most jobs of one array.
MOST = 1_000_000

#: The fields beside the command in which `{}` is replaced.
FIELDS = ("id", "name", "unique", "after", "after_any", "after_failed")

_SINGLE = "'"

_PART = re.compile(r"(\d{1,15})(?:-(\d{1,15})(?::(\d{1,15}))?)?", re.ASCII)

#: What begins something whose quoting is another matter: comments, here-documents, command substitution the old way,
#: arithmetic, which reads the words in it again, and quotes of other shells.
_INTRICATE = re.compile(r"(?:(?<=[\s;|&()])|^)#|<<|`|\(\(|\[\[|\$\[|\$['\"]|\$\{(?!\w+\})|\\\n")

#: The same inside double quotes.
_INTRICATE_QUOTED = re.compile(r"`|\$\(|\$\[|\$\{(?!\w+\})|\\\n")


def indices(text: str) -> list[int]:
    """The numbers of an array such as "1-100", "1-100:5" or "1,3,7-9", each once."""
    found: dict[int, None] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        first, last, step = (
            (None if group is None else int(group) for group in match.groups())
            if match
            else (None, None, None)
        )
        if first is None or (last is not None and last < first) or step == 0:
            raise ValueError(
                f"{part.strip()!r} is no array; write 1-100, 1-100:5 (every fifth) or 1,3,7-9"
            )
        span = range(first, (first if last is None else last) + 1, step or 1)
        if len(span) + len(found) > MOST:
            raise ValueError(f"{text!r} has more than {MOST} jobs, the most of one array")
        found |= dict.fromkeys(span)
    return list(found)


def with_index(record: dict[str, Any], index: int) -> dict[str, Any]:
    """The job for one index."""
    return _filled(record, str(index), INDEX, lambda command: command.replace(SLOT, str(index)))


def with_line(record: dict[str, Any], line: str) -> dict[str, Any]:
    """The job for one line. If no word of its command has a `{}`, nor QUEUECTL_LINE, the line is its last word."""
    command = record.get("command")
    if isinstance(command, list) and not any(
        SLOT in word for word in command if isinstance(word, str)
    ):
        record = {**record, "command": [*command, SLOT]}
    return _filled(record, line, LINE, lambda command: _quoted(line).join(slots(command)))


def _filled(
    record: dict[str, Any], value: str, variable: str, shell: Callable[[str], str]
) -> dict[str, Any]:
    filled = dict(record)
    for key in FIELDS:
        filled |= {key: _replaced(record[key], value)} if key in record else {}
    command, env = record.get("command"), record.get("env", {})
    filled["command"] = shell(command) if isinstance(command, str) else _replaced(command, value)
    filled["env"] = {**env, variable: value} if isinstance(env, dict) else env
    return filled


def _replaced(value: Any, text: str) -> Any:
    if isinstance(value, list | tuple):
        return [_replaced(word, text) for word in value]
    return value.replace(SLOT, text) if isinstance(value, str) else value


def _quoted(line: str) -> str:
    # Always in quotes: a line such as 2 or if must not become a part of the shell's grammar.
    return "'" + line.replace("'", "'\\''") + "'"


@functools.lru_cache(maxsize=8)
def slots(command: str) -> tuple[str, ...]:
    """A command for the shell, cut at each `{}`; at its end if there is none. InvalidJob where a quoted word would not be one."""
    if SLOT not in command and LINE not in command:
        command = f"{command} {SLOT}"
    parts, start, at, quote, why = [], 0, 0, "", ""
    while at < len(command):
        char = command[at]
        if command.startswith(SLOT, at):
            if why or quote:
                where = (
                    f"after {why}"
                    if why
                    else f"inside {'single' if quote == _SINGLE else 'double'} quotes"
                )
                raise InvalidJob(_refusal(command, at, where), "command")
            parts.append(command[start:at])
            start = at = at + len(SLOT)
            continue
        if (
            quote != _SINGLE
            and not why
            and (found := (_INTRICATE_QUOTED if quote else _INTRICATE).match(command, at))
        ):
            why = repr(found.group())
        if char == "\\" and quote != _SINGLE:
            at += 1  # the next character stands for itself
        elif char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        at += 1
    return (*parts, command[start:])


def _refusal(command: str, at: int, where: str) -> str:
    near = command[max(0, at - 20) : at + 20]
    return f'the {{}} in {near!r} stands {where}, where a line cannot be quoted safely; write "${LINE}" there, or {{}} outside'
