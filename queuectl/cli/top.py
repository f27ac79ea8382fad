"""queuectl top: the spool in this terminal, live.

The standard curses knows terminals; what is on the screen is a picture (picture) of what a child
process sees (lookout), so this loop only waits for keys, for signals and for views.

Promises
    Looking changes nothing on disk. The terminal is left as it was, however this ends.
    A refusal is a line on the screen, and the picture goes on.
Leaves to others
    looking (lookout), painting (picture), doing (actions).
Raises
    QueuectlError without a terminal, or when the lookout has died.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import click

from queuectl import actions, columns, disk, lookup, picture
from queuectl.cli import Command, logs, trouble
from queuectl.cli.screen import Screen
from queuectl.errors import QueuectlError
from queuectl.filename import Name
from queuectl.layout import Entry
from queuectl.lookout import Lookout
from queuectl.picture import Mood, Row, View
from queuectl.spool import Spool

#: Seconds after which the picture is painted again without news, and of a log that may grow.
CALM, EAGER = 1.0, 0.2

#: Bytes of a log's end that can be looked at.
TAIL = 256 * 1024

#: How far keys go in a list or a log; 0: half a screen.
FAR = 10**9
STEPS = {
    "down": 1,
    "j": 1,
    "up": -1,
    "k": -1,
    "page down": 0,
    " ": 0,
    "page up": 0,
    "home": -FAR,
    "g": -FAR,
    "end": FAR,
    "G": FAR,
}


@click.command("top", cls=Command)
@click.pass_obj
def top_(spool: Spool, /) -> None:
    """Watch the spool in this terminal while it changes, and act on its jobs.

    Counts, workers, running jobs with their time, waiting jobs with the reason, dead ones, and how many end a minute. Keys:
    arrows or j k choose a job, enter or l shows its log while it grows, c cancels it (and asks), r retries it, h holds or
    releases it, p pauses or resumes the spool, / shows only jobs whose id or name contains a text, ? is help, q quits.

    Looking changes nothing. Of each state the first 100 jobs are shown; / looks at all ids, and at the names of the first 1000.

    \b
    queuectl top
    queuectl --spool /srv/jobs top
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise QueuectlError(
            "top needs a terminal; 'queuectl status --watch' prints how things are again and again"
        )
    spool.open().settings()
    lookout = Lookout(spool)
    try:
        with Screen() as screen:
            Top(spool, lookout, screen).run()
    finally:
        lookout.close()


class Top:
    """What happens between the keys and the picture."""

    def __init__(self, spool: Spool, lookout: Lookout, screen: Screen) -> None:
        self._spool, self._lookout, self._screen = spool, lookout, screen
        self._view = View(spool.path, spool.now(), {}, trouble="looking ...")
        self._mood, self._at, self._heard = Mood(), 0, time.monotonic()
        self._asked: Row | None = None
        self._log: Log | None = None
        self._helps = self._is_over = False

    def run(self) -> None:
        """Until somebody quits."""
        while not self._is_over:
            self._paint()
            if self._screen.wait(self._lookout, EAGER if self._log else CALM):
                self._lookout.receive()
                self._take(self._lookout.view)
            for key in self._screen.pressed():
                self._press(key)

    def _take(self, view: View | None) -> None:
        """Another view: the chosen job stays chosen, or the one that takes its place."""
        if view is None or view is self._view:
            return
        self._view, self._heard = view, time.monotonic()
        ids = [row.id for row in view.rows]
        self._choose(ids.index(self._mood.chosen) if self._mood.chosen in ids else self._at)

    def _choose(self, at: int) -> None:
        rows = self._view.rows
        self._at = max(0, min(at, len(rows) - 1))
        self._mood = self._mood._replace(chosen=rows[self._at].id if rows else "")

    def _paint(self) -> None:
        width, height = self._screen.size()
        if self._helps:
            lines = picture.help(width, height)
        elif self._log:
            self._log.look(width, height)
            lines = picture.log(
                self._log.title(self._view), self._log.text, self._log.back, width, height
            )
        else:
            lines = picture.jobs(
                self._view,
                self._mood._replace(silence=time.monotonic() - self._heard),
                width,
                height,
            )
        self._screen.paint(lines)

    # -- keys

    def _press(self, key: str) -> None:
        if self._helps:
            self._helps = False
        elif self._log:
            self._press_in_log(self._log, key)
        elif self._asked:
            row, self._asked = self._asked, None
            self._say("")
            if key in ("y", "Y"):
                self._do(row, "c")
        elif self._mood.is_typing:
            self._type(key)
        else:
            self._say("")
            self._press_in_list(key)

    def _press_in_log(self, log: Log, key: str) -> None:
        if key in ("q", "escape", "left"):
            self._log = None
        elif key == "tab":
            log.turn()
        elif key in STEPS:
            log.back = max(0, log.back - self._step(key))

    def _press_in_list(self, key: str) -> None:
        row = next((row for row in self._view.rows if row.id == self._mood.chosen), None)
        if key in STEPS:
            self._choose(self._at + self._step(key))
        elif key == "q":
            self._is_over = True
        elif key == "?":
            self._helps = True
        elif key == "/":
            self._mood = self._mood._replace(is_typing=True)
        elif key == "escape":
            self._filter("")
        elif key == "p":
            self._pause()
        elif row and key in ("enter", "l"):
            self._log = Log(self._spool, _entry(row))
        elif row and key == "c":
            self._asked = row
            id = columns.shortened(row.id, picture.ID)
            self._say(f"cancel {id}? y: yes, any other key: no")
        elif row and key in ("r", "h"):
            self._do(row, key)

    def _step(self, key: str) -> int:
        page = max(1, self._screen.size()[1] // 2)
        return STEPS[key] or (-page if key == "page up" else page)

    def _type(self, key: str) -> None:
        text = self._mood.filter
        if key == "enter":
            self._mood = self._mood._replace(is_typing=False)
        elif key == "escape":
            self._filter("")
        elif key == "backspace":
            self._filter(text[:-1], is_typing=True)
        elif len(key) == 1 and key.isprintable():
            self._filter(text + key, is_typing=True)

    def _filter(self, text: str, *, is_typing: bool = False) -> None:
        self._mood = self._mood._replace(filter=text, is_typing=is_typing)
        self._lookout.ask(text)

    # -- deeds

    def _say(self, message: str) -> None:
        self._mood = self._mood._replace(message=" ".join(message.split()))

    def _pause(self) -> None:
        with self._refusals():
            if self._spool.open().is_paused():
                actions.resume(self._spool)
                self._say("resumed")
            else:
                actions.pause(self._spool)
                self._say("paused: no job begins until p is pressed again")

    def _do(self, row: Row, key: str) -> None:
        with self._refusals():
            self._say(
                lookup.pursue(
                    self._spool.open(), _entry(row), lambda entry: _act(self._spool, entry, key)
                )
            )

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except QueuectlError as error:
            self._say(str(error))
        except OSError as error:
            self._say(trouble(error))
        self._lookout.ask(self._mood.filter)


def _entry(row: Row) -> Entry:
    return Entry(
        row.state, Name(row.time, row.priority, row.attempts, row.id), row.file, row.worker
    )


def _act(spool: Spool, entry: Entry, key: str) -> str | None:
    """Do what a key means to a job; what was done, None if the job has moved on."""
    id = entry.name.id
    if key == "c":
        return (
            f"{id} cancelled"
            if actions.cancel(spool, id, entry) == "cancelled"
            else f"{id} is running and has been told to end"
        )
    if key == "r":
        return f"{id} pending" if actions.retry(spool, entry) else None
    if entry.state == "held":
        return f"{id} released" if actions.release(spool, entry) else None
    return f"{id} held" if actions.hold(spool, entry) else None


class Log:
    """The end of what a job has printed. `back`: how many lines before the end one looks."""

    def __init__(self, spool: Spool, entry: Entry) -> None:
        self._spool, self._id = spool, entry.name.id
        self._attempt = max(1, logs.last_attempt(spool, entry))
        self._stream, self._is_turned = "out", False
        self._seen: object = None
        self.text, self.back = "", 0

    def turn(self) -> None:
        """Look at the other stream."""
        self._stream, self._is_turned, self.back = (
            "err" if self._stream == "out" else "out",
            True,
            0,
        )

    def look(self, width: int, height: int) -> None:
        """Read what has come, also of a new attempt; stderr if there is nothing else and nobody chose."""
        while any(self._size(name, self._attempt + 1) for name in ("out", "err")):
            self._attempt += 1
        if not self._is_turned:
            self._stream = "out" if self._size("out") or not self._size("err") else "err"
        path = self._spool.log(self._id, self._attempt, self._stream)
        seen = (path, disk.version(path))
        if seen != self._seen:
            data = disk.read_tail(path, TAIL)
            whole = data if len(data) < TAIL else data.partition(b"\n")[2]
            text, self._seen = whole.decode(errors="replace"), seen
            more = picture.most_back(text, width, height) - picture.most_back(
                self.text, width, height
            )
            self.back += max(0, more) if self.back else 0  # who reads further up stays there
            self.text = text
        self.back = min(self.back, picture.most_back(self.text, width, height))

    def _size(self, stream: str, attempt: int | None = None) -> int:
        return disk.size(self._spool.log(self._id, attempt or self._attempt, stream))

    def title(self, view: View) -> str:
        """What one looks at, and how the job is: one that is not listed has ended, or moves just now."""
        entry = next(
            (row for row in view.rows if row.id == self._id), None
        ) or lookup.at_last_record(self._spool, self._id)
        state = f", {entry.state}" if entry else ""
        id = columns.shortened(self._id, picture.ID)
        return f"log of {id}{state}, attempt {self._attempt}, std{self._stream}{'' if self.text else ': nothing'}"
