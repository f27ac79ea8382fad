"""The log of the dashboard: one line for each kind of event and minute, on stderr.

Clients decide how often something happens, so they would decide how large the log becomes.

Promises
    No traceback, and no character that a terminal obeys.
    Of one kind of event there is one line a minute; the next line says how many were left out.
Leaves to others
    the form of a line (log).
Raises
    nothing.
"""

from __future__ import annotations

import logging
import os
import re
import time
import traceback

from queuectl import log, render

#: Seconds for which one kind of event is silent after a line.
SILENCE = 60.0

#: Characters of a line, and kinds of events that are remembered.
WIDTH, KINDS = 400, 100

_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")


class Journal(logging.Handler):
    """Writes the warnings and errors of the dashboard, uvicorn and asyncio."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._log = log.Log(2, "text")
        #: When a kind of event was told, and how many came since.
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless this kind has one in this minute."""
        error = record.exc_info[1] if record.exc_info else None
        # Messages of others have addresses of objects in them, and more lines.
        first = _NUMBER.sub("#", str(record.msg).partition("\n")[0])
        kind, now = (first, type(error).__name__), time.monotonic()
        if len(self._told) > KINDS:
            self._told.clear()
        told, left_out = self._told.get(kind, (-SILENCE, 0))
        if now - told < SILENCE:
            self._told[kind] = told, left_out + 1
            return
        self._told[kind] = now, 0
        what = record.getMessage().partition("\n")[0]
        text = f"{what}: {fault(error)}" if error else what
        more = {"left_out": left_out} if left_out else {}
        self._log.event(record.levelname.lower(), reason=render.short(text, WIDTH), **more)


def fault(error: BaseException) -> str:
    """An error and where it was raised, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def install() -> None:
    """Let every warning of this process go here, and nothing below."""
    root = logging.getLogger()
    root.handlers[:] = [Journal()]
    root.setLevel(logging.WARNING)
