"""queuectl logs: what the commands of jobs printed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

import click

from queuectl import disk, lookup, units
from queuectl.cli import Command, choose, complete, show
from queuectl.errors import QueuectlError
from queuectl.layout import ENDED, Entry
from queuectl.spool import Spool

#: Seconds between two looks of `logs --follow`.
PAUSE = 0.1

#: Bytes of a log that are looked through at a time for where its last lines begin.
BLOCK = 65536


@click.command("logs", cls=Command)
@click.argument("id", shell_complete=complete.ids)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    metavar="N",
    help="Only the last N lines of each stream.",
)
@click.option(
    "--attempt", type=click.IntRange(1), metavar="N", help="Another attempt than the last."
)
@click.option("--stdout", "out", is_flag=True, help="Only what it printed to stdout.")
@click.option(
    "--stderr", "err", is_flag=True, help="Only what it printed to stderr; it goes to our stdout."
)
@click.option(
    "--all", "everything", is_flag=True, help="Every attempt, each with a head, all on stdout."
)
@show.json_option
@click.pass_obj
def logs_(
    spool: Spool,
    /,
    id: str,
    follow: bool,
    lines: int | None,
    attempt: int | None,
    out: bool,
    err: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """What a job's command printed: its stdout on stdout, its stderr on stderr.

    After `dlq retry` the attempts count from 1 again, and a new log replaces the old of that number; the end of
    each stream stays in `queuectl show`.

    \b
    queuectl logs job1
    queuectl logs last --follow
    queuectl logs job1 -n 20
    queuectl logs job1 --all --stderr
    """
    entry = choose.one(spool, id)
    if follow and (as_json or everything):
        raise click.UsageError(
            "--follow begins at the last attempt and has no end that others could wait for; use it without --json, --all"
        )
    if attempt and everything:
        raise click.UsageError("--all is every attempt; use it without --attempt")
    streams = ["out", "err"] if out == err else ["out" if out else "err"]
    if follow:
        Follower(spool, entry, attempt, streams, lines).follow()
        return
    last = last_attempt(spool, entry)
    if attempt and attempt > last:
        raise QueuectlError(
            f"job {entry.name.id} has had {last} attempts; there is no attempt {attempt}"
        )
    numbers = range(1, last + 1) if everything else [attempt or last]
    if as_json:
        found = [_as_json(spool, entry, number, streams, lines) for number in numbers]
        show.document(found if everything else found[0])
        return
    found_any = False
    for number in numbers:
        for name in streams:
            head = f"attempt {number}, std{name}" if everything else ""
            found_any |= _show(
                _open_at(spool.log(entry.name.id, number, name), lines),
                _target(name, streams),
                head,
            )
    if not found_any and (why := _why_nothing(spool, entry)):
        click.echo(f"job {entry.name.id} {why}", err=True)


def _why_nothing(spool: Spool, entry: Entry) -> str | None:
    """Why a job has no logs, if it is not that its command printed nothing."""
    runs = lookup.runs(spool, entry)
    if not runs:
        return "has not run yet" if not entry.name.attempts else None
    reason = runs[-1].get("reason")
    return f"printed nothing: {reason}" if reason else None


def _target(name: str, streams: Sequence[str]) -> IO[bytes]:
    return sys.stderr.buffer if name == "err" and len(streams) > 1 else sys.stdout.buffer


def _as_json(
    spool: Spool, entry: Entry, number: int, streams: Sequence[str], lines: int | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"id": entry.name.id, "attempt": number}
    for name in streams:
        file = _open_at(spool.log(entry.name.id, number, name), lines)
        found[f"std{name}"] = file.read().decode(errors="replace") if file else ""
    return found


def _show(file: IO[bytes] | None, target: IO[bytes], head: str) -> bool:
    """Copy one log, if there is one; with a head it goes to stdout, below the head, and ends with a newline."""
    if file is None:
        return False
    if not head:
        _copy(file, target)
        return True
    sys.stdout.buffer.write(f"==> {head} <==\n".encode())
    if _copy(file, sys.stdout.buffer) not in (b"", b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    return True


def last_attempt(spool: Spool, entry: Entry) -> int:
    """The number of the attempt that ran last; a job that was brought back from the dead counts from 0 again."""
    runs = lookup.runs(spool, entry)
    last = runs[-1]["attempt"] if runs and entry.name.attempts == 0 else 0
    return max(entry.name.attempts, last or 0, 0)


def _open(path: str) -> IO[bytes] | None:
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        return None


def _open_at(path: str, lines: int | None) -> IO[bytes] | None:
    """A log, at its beginning or where its last `lines` lines begin; None if there is none."""
    file = _open(path)
    if file is not None and lines is not None:
        file.seek(_last_lines(file.fileno(), lines))
    return file


def _last_lines(fd: int, lines: int) -> int:
    """Where the last `lines` lines of a file begin, however large it is."""
    size = os.fstat(fd).st_size
    if not lines:
        return size
    end = size - 1  # a newline that is the last byte ends the last line, and begins none
    while end > 0:
        begin = max(0, end - BLOCK)
        block = os.pread(fd, end - begin, begin)
        at = len(block)
        while lines and (at := block.rfind(b"\n", 0, at)) >= 0:
            lines -= 1
        if not lines:
            return begin + at + 1
        end = begin
    return 0


def _copy(file: IO[bytes], target: IO[bytes]) -> bytes:
    """Copy what is left of a file; the last byte of that."""
    last = b""
    while chunk := file.read(65536):
        target.write(chunk)
        last = chunk[-1:]
    target.flush()
    return last


def _current(file: IO[bytes] | None, path: str, target: IO[bytes]) -> IO[bytes] | None:
    """Copy what has come; the log that is at `path` now, should a run that was given back have begun a new one."""
    newest = _open(path)
    if file is not None:
        _copy(file, target)
        if newest is None or os.path.sameopenfile(file.fileno(), newest.fileno()):
            if newest is not None:
                newest.close()
            return file
        file.close()
    if newest is not None:
        _copy(newest, target)
    return newest


def _how_it_failed(spool: Spool, entry: Entry) -> str:
    """What became of a job whose attempt has failed."""
    reason = (lookup.last_run(spool, entry) or {}).get("reason") or "no reason recorded"
    if entry.state == "dead":
        return f"job {entry.name.id} is dead: {reason}"
    wait = max(0.0, entry.name.time - spool.now())
    return f"attempt {entry.name.attempts} of job {entry.name.id} failed: {reason}; the next one in {units.ago(wait)}"


class Follower:
    """Copies the logs of a job as they grow: all of them, or the last `lines` lines of what is there and what comes then."""

    def __init__(
        self,
        spool: Spool,
        entry: Entry,
        attempt: int | None = None,
        streams: Sequence[str] = ("out", "err"),
        lines: int | None = None,
    ) -> None:
        self._spool, self._entry, self._attempt, self._streams = spool, entry, attempt, streams
        self._at = attempt or max(1, last_attempt(spool, entry))
        self._files = {
            (self._at, name): _open_at(spool.log(entry.name.id, self._at, name), lines)
            for name in streams
        }
        self._told: Entry | None = None

    def follow(self, between: Callable[[], None] = lambda: None) -> None:
        """Attempt after attempt, until the job is completed or dead; `between` is called after each look."""
        pause = show.Pause(self._spool)
        while not self._look():
            if self._entry.state != "processing":
                pause.look()
            between()
            time.sleep(PAUSE)

    def _look(self) -> bool:
        """Copy what has come; whether that was all."""
        # Look at the state first: what was printed before the end is then read below.
        if not disk.is_there(self._spool.at(self._entry.file)):
            self._entry = lookup.find(self._spool, self._entry.name.id)
        entry, attempt = self._entry, self._attempt
        last = attempt or max(self._at, entry.name.attempts)
        for number in range(self._at, last + 1):
            for name in self._streams:
                key, path = (number, name), self._spool.log(entry.name.id, number, name)
                self._files[key] = _current(
                    self._files.get(key), path, _target(name, self._streams)
                )
        self._at = last
        if not attempt and entry.state in ("failed", "dead") and entry != self._told:
            self._told = entry
            click.echo(f"queuectl: {_how_it_failed(self._spool, entry)}", err=True)
        return entry.state in ENDED or bool(
            attempt and entry.state != "processing" and entry.name.attempts >= attempt
        )
