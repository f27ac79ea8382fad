"""The columns of a terminal: how many a text takes, and tables that fit. Pure.

Promises
    A letter of Chinese takes two columns, a combining sign none.
    A table is as wide as the terminal at most, its head is one line, and no column is hidden by another.
Leaves to others
    what a terminal would obey (render), colours and printing (cli).
Raises
    nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import accumulate, zip_longest

from queuectl import render

#: The columns of tables that may be narrower than what is in them.
NAMES = frozenset({"ID", "JOB", "NAME", "WORKER", "HOST", "SETTING"})
SENTENCES = frozenset({"WHEN", "COMMAND", "REASON", "VALUE", "MEANING", "WHAT", "CURE"})

#: What stands for what was cut.
MARK = "…"

#: The most columns to which a cell is filled up where nothing is cut.
WIDEST = 60


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int = 0, *, whole: bool = False
) -> list[str]:
    """The rows as texts with aligned columns, the head first. Cells are in one line each, as `render.printable` makes them.

    With `width` they fit into so many columns: names lose their middle, sentences their end, or with `whole` they are
    folded. Without it nothing is cut.
    """
    widths = [max(map(cells, column)) for column in zip(head, *rows, strict=True)]
    widths = fitted(head, widths, width) if width else [min(each, WIDEST) for each in widths]
    lines = [_row(head, row, widths, bool(width), whole=whole) for row in rows]
    return [_row(head, head, widths, bool(width), whole=False), *lines]


def _row(
    head: Sequence[str], row: Sequence[str], widths: Sequence[int], is_cut: bool, *, whole: bool
) -> str:
    parts = [
        _shown(title, cell, width, whole=whole) if is_cut else [cell]
        for title, cell, width in zip(head, row, widths, strict=True)
    ]
    lines = [
        "  ".join(
            cell + " " * (width - cells(cell)) for cell, width in zip(line, widths, strict=True)
        )
        for line in zip_longest(*parts, fillvalue="")
    ]
    return "\n".join(line.rstrip() for line in lines)


def fitted(head: Sequence[str], widths: Sequence[int], room: int) -> list[int]:
    """The widths of columns with these titles so that they fit into `room`, with two blanks between them.

    The widest gives first, sentences before names; an id that queuectl made has 17 letters.
    """
    widths = [min(each, room) for each in widths]
    names, sentences = (
        [at for at, title in enumerate(head) if title in titles] for titles in (NAMES, SENTENCES)
    )
    excess = sum(widths) + 2 * (len(widths) - 1) - room
    steps = ((sentences, 24), (names, 24), (sentences, 12), (names, 17), (sentences, 7))
    for columns, least in (*steps, (names + sentences, 1)):
        while excess > 0 and (widest := max((widths[at] for at in columns), default=0)) > least:
            widths[next(at for at in columns if widths[at] == widest)] -= 1
            excess -= 1
    return widths


def _shown(title: str, cell: str, width: int, *, whole: bool) -> Sequence[str]:
    if cells(cell) <= width:
        return [cell]
    if title in NAMES:
        return [shortened(cell, width)]
    return folded(cell, width) if whole and width > 1 else [padded(cell, width)]


def folded(text: str, width: int) -> list[str]:
    """`text` in lines of at most so many columns, two or more, broken at blanks if possible."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and cells(lines[-1]) + 1 + cells(word) <= width:
            lines[-1] += f" {word}"
            continue
        while cells(word) > width:
            part = cut(word, width)
            lines.append(part)
            word = word[len(part) :]
        lines.append(word)
    return lines[1:]


# -- cells: a letter of Chinese takes two


def cells(text: str) -> int:
    """The columns of the screen that `text` takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


@functools.lru_cache(maxsize=4096)
def _cells_of(sign: str) -> int:
    import unicodedata  # most texts are ASCII

    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(text: str, width: int) -> str:
    """As much of the beginning of `text` as fits into so many columns."""
    if text.isascii():
        return text[: max(0, width)]
    return text[: sum(end <= width for end in accumulate(map(_cells_of, text)))]


def padded(text: str, width: int) -> str:
    """`text` in exactly so many columns; what is too long ends in a mark."""
    text = render.printable(text)
    if cells(text) > width:
        text = cut(text, width - 1) + MARK if width > 0 else ""
    return text + " " * (width - cells(text))


def shortened(text: str, width: int) -> str:
    """A name in at most so many columns; what is too long loses its middle: names often differ at their ends."""
    text = render.printable(text)
    if cells(text) <= width:
        return text
    tail = cut(text[::-1], (width - 1) // 2)[::-1]
    return cut(text, width - 1 - cells(tail)) + MARK + tail if width > 0 else ""
