"""The log of a supervisor and its workers: one line for each event.

Each write(2) is of whole lines, so the lines of several processes never mix.

Promises
    A log that cannot be written (a closed terminal, a full disk) never stops the work.
Leaves to others
    the form of a line (render); a file that grows, or that somebody moves away (logfile).
Raises
    nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from queuectl import render

Form = Literal["text", "json"]

#: Lines that are put off at most.
MOST = 32

#: Characters that are written together: with one more line a pipe still takes them in one piece.
TOGETHER = 2048


class File(Protocol):
    """What a log needs to know of the file behind its descriptor."""

    def follow(self) -> None:
        """Be ready for the next line."""

    def rotate(self, most: int) -> None:
        """Begin another file if this one has so many bytes."""


class Log:
    """Writes events to the descriptor `fd` as text or JSON lines.

    `colour` for a terminal, `common` is said by every line, `file` is what is behind the descriptor, if that is ours.
    """

    def __init__(
        self,
        fd: int,
        form: Form,
        *,
        colour: bool = False,
        common: Mapping[str, Any] | None = None,
        file: File | None = None,
    ) -> None:
        self._fd, self._form, self._colour, self._common, self._file = (
            fd,
            form,
            colour,
            common,
            file,
        )
        self._unwritten: list[tuple[float, str, dict[str, Any]]] = []

    def rotate(self, most: int) -> None:
        """Begin another file if this one has `most` bytes."""
        if self._file:
            self._file.rotate(most)

    def event(self, event: str, **details: Any) -> None:
        """Write one line: what happened, now, and to what. Those that were put off come before it."""
        self.put_off(event, **details)
        self.flush()

    def put_off(self, event: str, **details: Any) -> None:
        """Write a line together with the next, which must be near: making many lines at a time costs half as much."""
        self._unwritten.append((time.time(), event, details))
        if len(self._unwritten) == MOST:
            self.flush()

    def flush(self) -> None:
        """Write what was put off."""
        lines, self._unwritten = self._unwritten, []
        text = ""
        for now, event, details in lines:
            if self._common:
                details |= self._common
            text += render.event(self._form, now, event, details, colour=self._colour)
            if len(text) > TOGETHER:
                self._write(text)
                text = ""
        if text:
            self._write(text)

    def _write(self, text: str) -> None:
        if self._file:
            self._file.follow()
        try:
            os.write(self._fd, text.encode(errors="backslashreplace"))
        except OSError:
            pass
