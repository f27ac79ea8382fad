"""queuectl enqueue: every way to put jobs in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from queuectl.cli import complain
from queuectl.cli.fields import (
    Words,
    complete,
    complete_job,
    flags,
    last_is,
    read_flags,
    read_record,
)
from queuectl.errors import IdTaken, InvalidJob, Wrong
from queuectl.intake import BULK
from queuectl.job import Job, from_dict
from queuectl.spool import Spool
from queuectl.strict import load

if TYPE_CHECKING:
    from queuectl.cli.refusals import Refusals

#: Jobs to come: the number of each, and what makes its job or refuses it.
Jobs = Iterable[tuple[int, Callable[[], Job]]]


@click.command("enqueue", cls=Words)
@click.argument("words", nargs=-1, metavar="[JSON | - | -- PROGRAM ARGS...]")
@click.option("-c", "--command", metavar="CMD", help="A command for /bin/sh.")
@click.option("--job", metavar="JSON", help="A job as a JSON object, as the argument is.")
@click.option(
    "--file", "path", metavar="FILE", help="Many jobs: one JSON object a line; - is stdin."
)
@click.option(
    "--array",
    metavar="1-100[:STEP],...",
    help="A job for each number, which replaces {}; the command sees QUEUECTL_ARRAY_INDEX.",
)
@click.option(
    "--each-line",
    metavar="FILE",
    help="A job for each line, which replaces {}; the command sees QUEUECTL_LINE. - is stdin.",
)
@click.option(
    "--skip-bad", is_flag=True, help="With many jobs: name the bad ones and enqueue the others."
)
@click.option("--hold", is_flag=True, help="Put it into held/: it waits for 'queuectl release'.")
@flags
@click.pass_obj
def enqueue_(
    spool: Spool,
    /,
    words: tuple[str, ...],
    command: str | None,
    job: str | None,
    path: str | None,
    array: str | None,
    each_line: str | None,
    skip_bad: bool,
    hold: bool,
    **flags: Any,
) -> None:
    """Put a job into the queue and print its id: it is on disk then.

    A command after -c is run by /bin/sh; words after -- are run as they are, without a shell. The job runs where it was
    enqueued. One id is one job: an id that is in the spool in any state is refused with exit code 4.

    With --array or --each-line {} is replaced in the command, the id, the name, the unique key and the jobs to come after. A
    line is data: after -c it is quoted for the shell, so do not quote {}. Where neither {} nor QUEUECTL_LINE is, the line is
    the last word. Empty lines are left out. Ids are printed one a line, in order.

    \b
    queuectl enqueue -c 'make report > report.txt' --delay 10m
    queuectl enqueue -- convert "my photo.jpg" -resize 50% small.jpg
    queuectl enqueue '{"id": "job1", "command": "sleep 2", "priority": 9}'
    queuectl enqueue --array 1-100 --batch film -- render --frame {}
    find . -name '*.wav' | queuectl enqueue --each-line - -c 'lame {} {}.mp3'
    generate-jobs | queuectl enqueue -
    """
    given = {
        "JSON or a program": bool(words),
        "-c": command is not None,
        "--job": job is not None,
        "--file": path is not None,
    }
    if sum(given.values()) != 1:
        names = " and ".join(name for name, is_given in given.items() if is_given)
        raise click.UsageError(
            f"give one job, not {names}"
            if names
            else "what shall run? give JSON, -c 'CMD', -- PROGRAM ARGS, or --file FILE"
        )
    is_program = bool(click.get_current_context().meta["queuectl.program"] and words)
    lines = path or ("-" if words == ("-",) and not is_program else None)
    _refuse_two(
        {"--array": array, "--each-line": each_line, "many jobs in JSON": lines}, flags["stdin"]
    )
    defaults = read_flags(spool, flags)
    last_is(spool, defaults)
    if lines is not None:
        if "id" in defaults["forced"]:
            raise click.UsageError("--id names one job; give each line an id of its own")
        _enqueue_many(
            spool, _line_of(lines), _of_json(lines, defaults), skip_bad=skip_bad, hold=hold
        )
        return
    record = {"command": list(words)} if is_program else read_record(words, command, job)
    if array is None and each_line is None:
        click.echo(spool.enqueue(complete_job(record, defaults), hold=hold))
    elif not isinstance(record, dict):
        complete_job(record, defaults)  # says what is wrong
    else:
        record = complete(record, defaults)
        if array is not None:
            what, many = "index", _of_array(array, record)
        else:
            what, many = _line_of(each_line or ""), _of_lines(each_line or "", record)
        _enqueue_many(spool, what, many, skip_bad=skip_bad, hold=hold)


def _refuse_two(sources: dict[str, str | None], stdin: str | None) -> None:
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} both say which jobs; give one of them")
    if stdin == "-" and "-" in sources.values():
        raise click.UsageError(
            "our stdin cannot be read twice: as jobs, and as what they read; name a file for one of them"
        )


# -- many jobs


def _open(path: str) -> Iterable[bytes]:
    if path == "-":
        return sys.stdin.buffer
    try:
        return open(path, "rb")
    except OSError as error:
        raise Wrong(f"cannot read {path}: {error.strerror}") from None


def _line_of(path: str) -> str:
    """What a person calls the lines of a file."""
    return f"{'stdin' if path == '-' else path} line"


def _of_json(path: str, defaults: dict[str, Any]) -> Jobs:
    for number, line in enumerate(_open(path), 1):
        if line.strip():
            yield number, lambda line=line: complete_job(load(line), defaults)  # type: ignore[misc]


def _of_array(text: str, record: dict[str, Any]) -> Jobs:
    from queuectl import template

    try:
        indices = template.indices(text)
    except ValueError as error:
        raise Wrong(f"--array: {error}") from None
    for index in indices:
        yield index, lambda index=index: from_dict(template.with_index(record, index))  # type: ignore[misc]


def _of_lines(path: str, record: dict[str, Any]) -> Jobs:
    from queuectl import template

    def job(line: bytes) -> Job:
        try:
            return from_dict(template.with_line(record, line.decode()))
        except UnicodeDecodeError as error:
            raise InvalidJob(f"is not UTF-8 text (byte {error.start})") from None

    for number, line in enumerate(_open(path), 1):
        if line := line.removesuffix(b"\n").removesuffix(b"\r"):
            yield number, lambda line=line: job(line)  # type: ignore[misc]


def _enqueue_many(spool: Spool, what: str, many: Jobs, *, skip_bad: bool, hold: bool) -> None:
    from queuectl.cli.refusals import Refusals  # for many jobs only

    refusals = Refusals(what)
    jobs = _read(spool, what, many, refusals)
    bad = len(refusals.codes)
    if bad and not skip_bad:
        things = f"{bad} of {bad + len(jobs)} {'jobs' if what == 'index' else 'lines'}"
        complain(f"nothing was enqueued; correct {things}, or use --skip-bad", 2)
        raise click.exceptions.Exit(4 if set(refusals.codes) == {IdTaken.exit_code} else 2)
    if not jobs:
        return
    # Those that others wait for are enqueued first: then the ids can be printed in order only at the end.
    is_in_order = not any(job.predecessors for job, _ in jobs)
    with _bar(len(jobs)) as advance:

        def told(ids: list[str]) -> None:
            if is_in_order:
                click.echo("\n".join(ids))
            advance(len(ids))

        ids = spool.enqueue_checked(jobs, hold=hold, told=told)
    if not is_in_order:
        click.echo("\n".join(ids))


def _read(spool: Spool, what: str, many: Jobs, refusals: Refusals) -> list[tuple[Job, bytes]]:
    jobs: list[tuple[Job, bytes]] = []
    first: dict[str, int] = {}
    for number, make in many:
        try:
            job, data = spool.checked(make())
            if job.id is not None:
                if job.id in first:
                    raise InvalidJob(
                        f"{job.id!r} is the id of {what} {first[job.id]} already", "id"
                    )
                first[job.id] = number
                spool.refuse_taken(job.id)
            jobs.append((job, data))
        except (InvalidJob, IdTaken) as error:
            refusals.add(error, number)
    refusals.close()
    return jobs


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """Shows on a terminal how many of many jobs are enqueued."""
    if total <= BULK or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("enqueueing", total=total)
        yield lambda count: bar.advance(task, count)
