"""Names in the order of a listing: a page of them, and those after it, without reading a directory of a million.

A directory with few names is read when a page is asked for. Of one with many the counter
writes the names, sorted, into a file without a name; a page is found there by bisection.

A line is two characters that rank a name, and the name: as text it sorts as the listing does.

Promises
    Memory for one chunk of names, however many there are.
    A cursor is a line: what is listed after it does not depend on how long ago that was.
Leaves to others
    when an index is made (counter), whether the jobs are still there (listing).
Raises
    OSError when the temporary directory is full.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from queuectl.filename import STAMP
from queuectl.layout import ENDED

#: Lines that are sorted at once in memory.
CHUNK = 25_000

#: Bytes that are read at a time: some pages, or while searching; and more than any line has.
BLOCK, STRIDE, LONGEST = 16 * 1024, 1024 * 1024, 1024


def is_reverse(state: str) -> bool:
    """Whether this state is listed newest first."""
    return state in ENDED


def line(state: str, text: str, now: str) -> str:
    """The line of a name: what may run now comes by priority, after it what must wait by its time."""
    if state != "pending":
        return f"00{text}"
    return f"0{9 - int(text[25])}{text}" if text[:STAMP] <= now else f"1-{text}"


class Maker:
    """Makes an index of lines that come in any order."""

    def __init__(self, *, reverse: bool) -> None:
        self._reverse = reverse
        self._lines: list[str] = []
        self._runs: list[IO[str]] = []
        self.count = 0

    def add(self, text: str) -> None:
        """Take one line."""
        self._lines.append(text)
        self.count += 1
        if len(self._lines) >= CHUNK:
            self._spill()

    def _spill(self) -> None:
        self._lines.sort(reverse=self._reverse)
        run = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115  merged, and closed, at the end
        run.writelines(f"{text}\n" for text in self._lines)
        run.flush()
        run.seek(0)
        self._runs.append(run)
        self._lines = []

    def finish(self) -> IO[str]:
        """The file with all lines in order."""
        self._spill()
        if len(self._runs) == 1:
            return self._runs[0]
        whole = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115  its owner closes it
        whole.writelines(heapq.merge(*self._runs, reverse=self._reverse))
        whole.flush()
        for run in self._runs:
            run.close()
        return whole


class Index:
    """The lines in the file behind a descriptor, which is closed with this object; `late` came after the file was made."""

    def __init__(self, fd: int, *, reverse: bool) -> None:
        self._fd, self._reverse, self._size = fd, reverse, os.fstat(fd).st_size
        self.late: list[str] = []

    def __del__(self) -> None:
        os.close(self._fd)

    def lines(self, after: str, part: str = "") -> Iterator[str]:
        """The lines after the line `after`, in order; with `part` only those that contain it."""
        late = sorted(
            (text for text in self.late if part in text and self._is_after(text, after)),
            reverse=self._reverse,
        )
        last = ""
        for text in heapq.merge(late, self._lines(after, part), reverse=self._reverse):
            if text != last:
                yield text
            last = text

    def _is_after(self, text: str, after: str) -> bool:
        return not after or (text < after if self._reverse else text > after)

    def _lines(self, after: str, part: str) -> Iterator[str]:
        at = self._find(after) if after else 0
        rest, needle = b"", part.encode("ascii", "replace")
        while at < self._size:
            block = os.pread(self._fd, STRIDE if part else BLOCK, at)
            at += len(block)
            if needle not in block and needle not in rest + block[:LONGEST]:
                # Of most blocks nothing is copied but their last, unfinished line.
                rest = block[block.rfind(b"\n") + 1 :] if b"\n" in block else rest + block
                continue
            whole, _, rest = (rest + block).rpartition(b"\n")
            yield from (
                text.decode("ascii") for text in whole.split(b"\n") if text and needle in text
            )

    def _find(self, after: str) -> int:
        """Where the first line begins that comes after this one: the bisection of a file by its bytes."""
        low, high = 0, self._size
        while low < high:
            middle = (low + high) // 2
            start, text = self._line_at(middle)
            if start >= high or self._is_after(text, after):
                high = middle
            else:
                low = start + len(text) + 1
        return self._line_at(low)[0]

    def _line_at(self, at: int) -> tuple[int, str]:
        """The first line that begins at this byte or after it, and where that is."""
        start = max(0, at - 1)
        block = os.pread(self._fd, LONGEST, start)
        if at:
            skipped = block.find(b"\n") + 1
            start, block = start + skipped, block[skipped:]
        return start, block.partition(b"\n")[0].decode("ascii")
