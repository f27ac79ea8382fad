"""The picture that `queuectl top` paints: what was seen goes in, lines come out. Pure.

Promises
    As many lines as the screen has, none wider than it; nothing in them that a terminal would obey.
    The chosen job is among the lines, if one line is left for jobs.
Leaves to others
    looking (lookout), the terminal and its keys (cli).
Raises
    nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from queuectl import columns, render, units

#: Minutes over which the rate is taken.
RATE = 5

#: Screens that are smaller are not painted: columns and lines.
SMALLEST = (20, 4)

#: Seconds without a new look after which that is said.
QUIET = 5.0

#: The widest columns of ids and of reasons.
ID, WHY = 30, 40

#: Screens from this width on have columns for state, priority and tries. They and the mark before a job take so many.
WIDE, FIXED = 70, 25

#: The columns that the margin, the heartbeat and the word "runs" of a worker take.
BEAT = 18

#: Every key and what it does.
KEYS = (
    ("up down j k", "choose a job; PgUp, PgDn, Home, End, g, G go further"),
    ("enter l", "its log, as it grows; tab: stdout or stderr; q or Esc: back"),
    ("c", "cancel it (asks)"),
    ("r", "retry it: now if it failed, with all its attempts if it is dead"),
    ("h", "hold it, or release it if it is held"),
    ("p", "pause the spool: no job begins; again: resume"),
    ("/", "show only jobs whose id or name contains a text; Esc: all"),
    ("?", "this page"),
    ("q", "quit"),
)

HINT = "enter log  c cancel  r retry  h hold  p pause  / filter  ? help  q quit"

_BARS = "▁▂▃▄▅▆▇█"
_COLOURS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


class Span(NamedTuple):
    """A text in one style: title, dim, chosen, good, warn, bad, busy, or none."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


class Row(NamedTuple):
    """A job. `time`: when it was claimed, is due, or ended; `why`: why it waits, or died; `what`: its name and command."""

    state: str
    id: str
    time: float
    priority: int
    attempts: int
    most: int
    file: str
    worker: str | None
    what: str
    why: str


class Worker(NamedTuple):
    """Who works: the age of its heartbeat in seconds, and the job that it runs."""

    name: str
    host: str
    is_alive: bool
    age: float | None
    job: str | None


class View(NamedTuple):
    """What a look has shown.

    `rare`: states that are so large that they are counted rarely. `minutes`: how many jobs ended in each of the last
    minutes, oldest first; the last one has lasted for `part` seconds. `trouble`: why there is nothing new.
    """

    spool: str
    now: float
    jobs: Mapping[str, int | None]
    rare: Sequence[str] = ()
    scheduled: int = 0
    oldest: float | None = None
    is_paused: bool = False
    workers: Sequence[Worker] = ()
    rows: Sequence[Row] = ()
    minutes: Sequence[int] = ()
    part: float = 0.0
    trouble: str = ""


class Mood(NamedTuple):
    """What the person at the screen wants. `silence`: seconds since the last look."""

    chosen: str = ""
    filter: str = ""
    is_typing: bool = False
    message: str = ""
    silence: float = 0.0


#: The parts of the list of jobs, and their states.
PARTS = (
    ("RUNNING", ("processing",)),
    ("WAITING", ("pending", "blocked", "held", "failed")),
    ("DEAD", ("dead",)),
)

#: The styles of states, where their colour is not that of events.
_STYLES = {
    "processing": "busy",
    "completed": "good",
    "failed": "warn",
    "dead": "bad",
    "rejected": "bad",
}


def jobs(view: View, mood: Mood, width: int, height: int) -> list[Line]:
    """The whole screen: how the spool is, who works, the jobs, and a line for words."""
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return _fitted([(Span("too small"),)], width, height)
    head = [_title(view, mood), _counts(view), *([_flow(view)] if height >= 8 else [])]
    head += _workers(view, (height - 10) // 3, width)
    body = _body(view, mood, height - len(head) - 1, width)
    return [*_fitted(head + body, width, height - 1), *_fitted([_last(mood)], width, 1)]


def log(title: str, text: str, back: int, width: int, height: int) -> list[Line]:
    """The end of a log, or what stands `back` lines before that."""
    lines = folded(text, width)
    end = len(lines) - back
    shown = [(Span(line),) for line in lines[max(0, end - max(0, height - 2)) : end]]
    foot = f"{'at its end' if back <= 0 else f'{back} lines before its end'}   j k scroll  G end  tab stdout/stderr  q back"
    return (
        _fitted([(Span(title, "title"),), *shown], width, height - 1)
        + _fitted([(Span(foot, "dim"),)], width, 1)
    )[:height]


def most_back(text: str, width: int, height: int) -> int:
    """How far one can go back in a log."""
    return max(0, len(folded(text, width)) - max(1, height - 2))


def help(width: int, height: int) -> list[Line]:
    """Every key."""
    lines = [(Span(f"{keys:<12}", "title"), Span(f" {text}")) for keys, text in KEYS]
    return _fitted(
        [(Span("queuectl top: keys", "title"),), (), *lines, (), (Span("any key: back", "dim"),)],
        width,
        height,
    )


@functools.lru_cache(maxsize=4)
def folded(text: str, width: int) -> Sequence[str]:
    """The lines of a log as a screen of this width shows them: colours left out, what was overwritten is gone."""
    lines: list[str] = []
    for line in text.split("\n")[: -1 if text.endswith("\n") else None]:
        shown = _COLOURS.sub("", line.rstrip("\r").rpartition("\r")[2]).expandtabs(8)
        lines += list(_folds(render.printable(shown), max(2, width))) or [""]
    return lines if text else []


def _folds(text: str, width: int) -> Iterator[str]:
    at = 0
    while at < len(text):
        part = columns.cut(text[at : at + 4 * width], width)
        yield part
        at += len(part)


def clock(seconds: float) -> str:
    """How long something runs: 0:07, 12:03, 3:00:09, 2d 01:00:09."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


# -- the parts


def _title(view: View, mood: Mood) -> Line:
    found = [Span("queuectl top ", "title"), Span(view.spool)]
    if view.is_paused:
        found.append(Span("  paused", "warn"))
    if mood.filter:
        found.append(Span(f"  only {mood.filter!r}", "busy"))
    if mood.silence > QUIET:
        found.append(Span(f"  no news for {units.ago(mood.silence)}", "bad"))
    return tuple(found)


def _counts(view: View) -> Line:
    if view.trouble:
        return (Span(view.trouble, "bad"),)
    found: list[Span] = []
    for state, count in view.jobs.items():
        if count or state in ("pending", "processing", "failed", "completed", "dead"):
            number = "..." if count is None else f"{'~' if state in view.rare else ''}{count:,}"
            found += [
                Span("  " if found else ""),
                Span(f"{state} {number}", _STYLES.get(state, "") if count else "dim"),
            ]
    return tuple(found)


def _flow(view: View) -> Line:
    """How many jobs end, and what is late."""
    full = view.minutes[:-1]
    recent = [*full[-RATE:], *view.minutes[-1:]]
    rate = (
        sum(recent) * 60 / (len(full[-RATE:]) * 60 + view.part)
        if recent and (full or view.part)
        else 0.0
    )
    most = max(view.minutes, default=0)
    bars = "".join(_BARS[-(-count * 7 // most)] if most else _BARS[0] for count in view.minutes)
    more = (
        [f"oldest ready since {units.ago(view.now - view.oldest)}"]
        if view.oldest is not None
        else []
    )
    more += [f"{view.scheduled:,} wait for their time"] if view.scheduled else []
    return (
        Span(f"{rate:,.1f} ended a minute "),
        Span(bars, "good"),
        Span("".join(f"  {text}" for text in more), "dim"),
    )


def _workers(view: View, room: int, width: int) -> list[Line]:
    if room < 2:
        return []
    order = sorted(view.workers, key=lambda worker: (not worker.is_alive, worker.job is None))
    busy = sum(worker.job is not None for worker in order)
    shown = order if len(order) <= room - 1 else order[: room - 2]
    lines: list[Line] = [
        (Span(f"WORKERS {len(order)}, {busy} busy" if order else "WORKERS 0", "dim"),)
    ]
    texts = [(worker.name, worker.host, worker.job or "") for worker in shown] or [("", "", "")]
    natural = [max(map(columns.cells, column)) for column in zip(*texts, strict=True)]
    widths = columns.fitted(("WORKER", "HOST", "JOB"), natural, width - BEAT)
    for worker in shown:
        name, host, job = map(
            columns.shortened, (worker.name, worker.host, worker.job or ""), widths
        )
        beat = "-" if worker.age is None else units.ago(worker.age)
        words = f"  {columns.padded(name, widths[0])}  {columns.padded(host, widths[1])}  "
        runs = (
            Span(f"runs {job}", "busy")
            if worker.job
            else Span("idle" if worker.is_alive else "-", "dim")
        )
        lines.append(
            (
                Span(words),
                Span(
                    f"{'beat' if worker.is_alive else 'dead'} {beat:>4}  ",
                    "" if worker.is_alive else "bad",
                ),
                runs,
            )
        )
    if len(shown) < len(order):
        lines.append((Span(f"  and {len(order) - len(shown)} more", "dim"),))
    return lines


def _body(view: View, mood: Mood, room: int, width: int) -> list[Line]:
    """The list of jobs, so much of it as fits around the chosen one."""
    lines: list[Line] = []
    at = 0
    widths = _widths(view, width)
    for title, states in PARTS:
        rows = [row for row in view.rows if row.state in states]
        total = sum(view.jobs.get(state) or 0 for state in states)
        if rows or title != "DEAD":
            more = f" of {total:,}" if total > len(rows) else ""
            lines.append((Span(f"{title} {len(rows):,}{more}", "dim"),))
        for row in rows:
            at = len(lines) if row.id == mood.chosen else at
            lines.append(_row(row, view.now, widths, width, is_chosen=row.id == mood.chosen))
    first = max(0, min(at - room // 2, len(lines) - room))
    shown = lines[first : first + max(0, room)]
    return shown + [()] * (room - len(shown))


def _widths(view: View, width: int) -> list[int]:
    """The widths of ids, of reasons, and of what the jobs are."""
    texts = ([row.id, _when(row, view.now), row.what] for row in view.rows)
    natural = [max(map(columns.cells, column)) for column in zip(*texts, strict=True)] or [2, 4, 0]
    most = (min(natural[0], ID), min(natural[1], WHY), natural[2])
    return columns.fitted(("ID", "WHEN", "COMMAND"), most, width - (FIXED if width >= WIDE else 2))


def _row(row: Row, now: float, widths: Sequence[int], width: int, *, is_chosen: bool) -> Line:
    tries = f"{row.attempts}/{row.most}" if row.most else str(row.attempts)
    words = [columns.padded(columns.shortened(row.id, widths[0]), widths[0])]
    if width >= WIDE:
        words += [f"{row.state:<10}", f"p{row.priority}", f"{tries:>5}"]
    words += [columns.padded(_when(row, now), widths[1]), row.what]
    text = f"{'>' if is_chosen else ' '} {'  '.join(words)}"
    return (
        Span(
            columns.padded(text, width) if is_chosen else text,
            "chosen" if is_chosen else _STYLES.get(row.state, ""),
        ),
    )


def _when(row: Row, now: float) -> str:
    if row.state == "processing":
        return clock(now - row.time)
    if row.state == "dead":
        return f"{units.ago(now - row.time)} ago{': ' if row.why else ''}{row.why}"
    return row.why or f"ready {units.ago(now - row.time)}"


def _last(mood: Mood) -> Line:
    if mood.is_typing:
        return (Span(f"/{mood.filter}", "title"), Span("_"))
    return (Span(mood.message, "warn"),) if mood.message else (Span(HINT, "dim"),)


def _fitted(lines: Iterable[Line], width: int, height: int) -> list[Line]:
    """Exactly so many lines, cut to so many columns."""
    found = [_narrowed(line, width) for line in lines][: max(0, height)]
    return found + [()] * (height - len(found))


def _narrowed(line: Line, width: int) -> Line:
    left, spans = width, []
    for span in line:
        text = render.printable(span.text)
        shown = text if columns.cells(text) <= left else columns.padded(text, left)
        left -= columns.cells(shown)
        if shown:
            spans.append(Span(shown, span.style))
    return tuple(spans)
