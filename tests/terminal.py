"""A terminal with a screen that tests can read."""

import sys
import termios

import pexpect
import pyte

from tests.support import environment, until


class Terminal:
    """A program of ours in a terminal of its own: `with Terminal(path, "top") as terminal`."""

    def __init__(self, spool, *words, program=("-m", "queuectl"), lines=30, columns=110, **env):
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        self.raw = ""
        # Of this kind ncurses uses nothing that pyte does not know.
        settings = {**environment(spool), "TERM": "screen", "LC_ALL": "C.UTF-8", **env}
        self.process = pexpect.spawn(
            sys.executable, [*program, *words], env=settings, dimensions=(lines, columns), timeout=20, encoding="utf-8",
            codec_errors="replace",  # ncurses may write half a cell while a terminal shrinks to two columns
        )  # fmt: skip
        self.modes = termios.tcgetattr(self.process.child_fd)[:4]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.close(force=True)

    def _read(self):
        """Take in what has come. False: that was all."""
        try:
            text = self.process.read_nonblocking(1 << 20, timeout=0)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += text
        self._stream.feed(text)
        return True

    @property
    def text(self):
        """What is on the screen now."""
        self._read()
        return "\n".join(line.rstrip() for line in self._screen.display)

    def line(self, part):
        """The first line on the screen that contains `part`, or None."""
        return next((line for line in self.text.splitlines() if part in line), None)

    def shows(self, *parts, seconds=30):
        """Wait until all of this is on the screen."""
        try:
            until(lambda: all(part in self.text for part in parts), seconds)
        except AssertionError:
            raise AssertionError(f"not all of {parts} came:\n{self.text}") from None

    def hides(self, *parts):
        """Wait until none of this is on the screen."""
        try:
            until(lambda: not any(part in self.text for part in parts))
        except AssertionError:
            raise AssertionError(f"some of {parts} stayed:\n{self.text}") from None

    def press(self, *keys):
        """Type."""
        for key in keys:
            self.process.send(key)

    def resize(self, lines, columns):
        """Make it another size, as a person does."""
        self._screen.resize(lines, columns)
        self.process.setwinsize(lines, columns)

    def ends(self):
        """Wait for the end: the exit code, or minus the number of the signal."""
        until(lambda: not self._read())
        self.process.wait()
        return (
            self.process.exitstatus
            if self.process.signalstatus is None
            else -self.process.signalstatus
        )

    @classmethod
    def refusal(cls, *words, **env):
        """Run a program that must refuse: what it says."""
        with cls(*words, **env) as terminal:
            assert terminal.ends() == 1
            assert terminal.is_as_before()
            assert "Traceback" not in terminal.raw
            return terminal.raw

    def is_as_before(self):
        """Whether the terminal is as it was: its modes, and the screen that was there."""
        left = (
            self.raw.rindex("\x1b[?1049l") > self.raw.rindex("\x1b[?1049h")
            if "\x1b[?1049h" in self.raw
            else True
        )
        return left and termios.tcgetattr(self.process.child_fd)[:4] == self.modes
