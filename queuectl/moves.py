"""How the moves of jobs survive a power cut: each at once, or several together.

Promises
    Of a move, the directory that was left is synced first: an fsync of the other alone
    can bring the old name back after a power cut (btrfs), and the job is in both.
Leaves to others
    which moves there are (spool); outcomes of runs, which a flusher makes durable.
Raises
    OSError from the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from queuectl import disk
from queuectl.layout import Layout


class Moves(Layout):
    """A layout whose moves can be made durable."""

    #: The directories of moves that wait for the end of `together`: (left, entered).
    _waiting: list[tuple[str, str]] | None = None

    def sync_move(self, source: str, target: str) -> None:
        """Make the move of a file durable."""
        self.sync_moves(os.path.dirname(source), os.path.dirname(target))

    def sync_moves(self, left: str, entered: str) -> None:
        """Make all moves of files from one directory to another durable."""
        if self._waiting is not None:
            self._waiting.append((left, entered))
        else:
            self._sync([(left, entered)])

    def sync_left(self, directory: str) -> None:
        """Make it durable that files have left a directory, which may be gone itself."""
        with suppress(
            FileNotFoundError
        ):  # RACE: the last one that waited there went, and its directory with it
            disk.sync(self.at(directory))

    def _sync(self, moves: list[tuple[str, str]]) -> None:
        for directory in dict.fromkeys(left for left, _ in moves):
            self.sync_left(directory)
        for directory in dict.fromkeys(entered for _, entered in moves):
            disk.sync(self.at(directory))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Moves inside are made durable at the end, all by one sync of each directory. Let them be few."""
        self._waiting = []
        try:
            yield
        finally:
            moves, self._waiting = self._waiting, None
            self._sync(moves)
