"""The screen: a terminal that is painted and gives keys, by the standard curses.

Promises
    The terminal is as it was when the `with` block is left: by its end, an exception, Ctrl+C, SIGTERM or SIGHUP.
    Its size is asked of the terminal itself each time it is painted.
Leaves to others
    what is painted (picture), what keys mean (top).
Raises
    QueuectlError if this terminal, or this Python, cannot do it; SystemExit for SIGTERM and SIGHUP.
"""

from __future__ import annotations

import contextlib
import locale
import os
import select
import signal
import sys
import termios
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn, Self

from queuectl import signals
from queuectl.cli import show
from queuectl.errors import QueuectlError
from queuectl.picture import Line

if TYPE_CHECKING:
    from queuectl.lookout import Lookout

#: Milliseconds after Escape in which the rest of a key may come.
ESCAPE = 50

#: What signals end us.
ENDS = (signal.SIGTERM, signal.SIGHUP)


class Screen:
    """The terminal on standard input and output, for as long as the `with` block lasts."""

    def __enter__(self) -> Self:
        try:
            import curses
        except ImportError:
            raise QueuectlError(
                "this Python has no curses; 'queuectl status --watch' needs none"
            ) from None
        self._curses = curses
        locale.setlocale(locale.LC_ALL, "")
        self._wake, _ = signals.wake_pipe()
        try:
            curses.setupterm()
            if not curses.tigetstr("cup"):
                raise curses.error("its cursor cannot be moved")
            for number in ENDS:
                signal.signal(number, _end)
            self._begin()
        except curses.error as error:
            name = os.environ.get("TERM", "")
            raise QueuectlError(
                f"cannot paint a terminal of the kind {name!r} ({error}); try 'queuectl status --watch'"
            ) from None
        return self

    def _begin(self) -> None:
        curses = self._curses
        self._window = curses.initscr()
        try:
            # Ours, not that of curses: a resize must wake us.
            signal.signal(signal.SIGWINCH, lambda *_: None)
            curses.noecho()
            curses.cbreak()
            curses.set_escdelay(ESCAPE)
            self._window.keypad(True)
            self._window.nodelay(True)
            with contextlib.suppress(curses.error):
                curses.curs_set(0)
            self._styles = self._attributes()
        except BaseException:
            curses.endwin()
            raise

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, *ENDS):
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(self._curses.error):
            self._curses.endwin()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _attributes(self) -> dict[str, int]:
        """The attributes of each style; without colours the important ones are bold."""
        curses = self._curses
        found = {
            "title": curses.A_BOLD,
            "dim": curses.A_DIM,
            "chosen": curses.A_REVERSE,
            "bad": curses.A_BOLD,
        }
        if not show.may_colour():
            return found
        with contextlib.suppress(curses.error):
            curses.start_color()
            if curses.has_colors():
                curses.use_default_colors()
                colours = {
                    "good": curses.COLOR_GREEN,
                    "warn": curses.COLOR_YELLOW,
                    "bad": curses.COLOR_RED,
                    "busy": curses.COLOR_CYAN,
                }
                for number, (style, colour) in enumerate(colours.items(), 1):
                    curses.init_pair(number, colour, -1)
                    found[style] = curses.color_pair(number)
        return found

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        with contextlib.suppress(OSError):
            width, height = os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1)
            if width and height and self._curses.is_term_resized(height, width):
                self._curses.resizeterm(height, width)
                self._window.clear()
        height, width = self._window.getmaxyx()
        return width, height

    def paint(self, lines: Sequence[Line]) -> None:
        """Show these lines, and nothing else."""
        self._window.erase()
        for y, line in enumerate(lines):
            self._write(y, line)
        self._window.refresh()

    def _write(self, y: int, line: Line) -> None:
        with contextlib.suppress(
            self._curses.error
        ):  # the last cell of the screen, or one that was there before a resize
            self._window.move(y, 0)
            for text, style in line:
                coding = self._window.encoding
                self._window.addstr(
                    text.encode(coding, "replace").decode(coding), self._styles.get(style, 0)
                )

    def wait(self, lookout: Lookout, seconds: float) -> bool:
        """Until a key, a signal, or a view comes, or the time is over. Whether it is a view."""
        stdin = sys.__stdin__.fileno() if sys.__stdin__ else 0
        ready = select.select([stdin, self._wake, lookout.fileno()], [], [], seconds)[0]
        if self._wake in ready:
            signals.drain(self._wake)
        if stdin in ready:
            try:
                termios.tcgetattr(stdin)  # a terminal that has gone is readable for ever
            except termios.error:
                raise SystemExit(128 + signal.SIGHUP) from None
        return lookout.fileno() in ready

    def pressed(self) -> Iterator[str]:
        """The keys that have been pressed, by name or as the letter they are."""
        while True:
            try:
                key = self._window.get_wch()
            except self._curses.error:
                return
            if key != self._curses.KEY_RESIZE:  # nobody pressed that
                yield _NAMES.get(key, key) if isinstance(key, str) else self._name(key)

    def _name(self, code: int) -> str:
        name = self._curses.keyname(code).decode(errors="replace")
        return _CODES.get(name, name)


def _end(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


_NAMES = {
    "\n": "enter",
    "\r": "enter",
    "\t": "tab",
    "\x1b": "escape",
    "\x7f": "backspace",
    "\b": "backspace",
}

_CODES = {
    "KEY_UP": "up",
    "KEY_DOWN": "down",
    "KEY_LEFT": "left",
    "KEY_PPAGE": "page up",
    "KEY_NPAGE": "page down",
    "KEY_HOME": "home",
    "KEY_END": "end",
    "KEY_ENTER": "enter",
    "KEY_BACKSPACE": "backspace",
}
