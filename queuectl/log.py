"""The log of a supervisor and its workers: one line for each event, written at once.

Each line is one write(2), so the lines of several processes never mix.

Promises
    A log that cannot be written (a closed terminal, a full disk) never stops the work.
Leaves to others
    the form of a line (render).
Raises
    nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Literal

from queuectl import render

Form = Literal["text", "json"]


class Log:
    """Writes events to the descriptor `fd` as text or JSON lines; `colour` for a terminal, `common` is said by every line."""

    def __init__(self, fd: int, form: Form, *, colour: bool = False, common: Mapping[str, Any] | None = None) -> None:
        self._fd, self._form, self._colour, self._common = fd, form, colour, common

    def event(self, event: str, **details: Any) -> None:
        """Write one line: what happened, now, and to what."""
        if self._common:
            details |= self._common
        line = render.event(self._form, time.time(), event, details, colour=self._colour)
        try:
            os.write(self._fd, line.encode(errors="backslashreplace"))
        except OSError:
            pass
