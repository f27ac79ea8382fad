"""The wire between a supervisor and its workers: two pipes, short messages, NUL at the end.

A file name may hold any byte but NUL and a slash, so NUL ends a message. The end of the
pipe is a message, too: the other side is gone.

    to a worker      claim FILE | admit NAME | settle NAME     (FILE: from the spool, NAME: in pending/)
    from a worker    hello WORKER | want N | took | filed | lost N | admitted FILE | broken MARK NAME |
                     left VERB FILE|NAME

Leaves to others
    what the messages mean (worker, supervisor).
Raises
    nothing: a closed pipe is an answer.
"""

from __future__ import annotations

import os
from typing import NamedTuple

#: Bytes read at a time.
_CHUNK = 65536


class Message(NamedTuple):
    """A verb and its words."""

    verb: str
    text: str


class Line:
    """One end: a descriptor to read from and one to write to."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        self._rest = b""
        self.unsent = b""  # what was put off

    def send(self, verb: str, text: str = "") -> bool:
        """Send a message, and those that were put off. False: the other side is gone."""
        self.put_off(verb, text)
        return self.flush()

    def put_off(self, verb: str, text: str = "") -> None:
        """Send a message together with the next."""
        self.unsent += os.fsencode(f"{verb} {text}") + b"\0"

    def flush(self) -> bool:
        """Send what was put off. False: the other side is gone."""
        data, self.unsent = self.unsent, b""
        try:
            while data:
                data = data[os.write(self.writer, data) :]
        except BrokenPipeError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """The messages that have come, perhaps none yet; None: the other side is gone."""
        data = os.read(self.reader, _CHUNK)
        if not data:
            return None
        *whole, self._rest = (self._rest + data).split(b"\0")
        return [Message(*os.fsdecode(message).split(" ", 1)) for message in whole]

    def close(self) -> None:
        """Hang up."""
        os.close(self.reader)
        os.close(self.writer)


def pair() -> tuple[Line, Line]:
    """The two ends of a new wire."""
    here_reads, there_writes = os.pipe()
    try:
        there_reads, here_writes = os.pipe()
    except OSError:
        os.close(here_reads)
        os.close(there_writes)
        raise
    return Line(here_reads, here_writes), Line(there_reads, there_writes)
