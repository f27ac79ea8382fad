"""queuectl enqueue: every way to put jobs in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from queuectl import render, units
from queuectl.errors import IdTaken, InvalidJob, Wrong
from queuectl.job import Job, from_dict
from queuectl.spool import BULK, Spool
from queuectl.strict import load

#: Variables that come along with a job unless --export says otherwise.
EXPORTED = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV")
EXPORTED_FAMILIES = ("LC_", "CONDA_")


class Words(click.Command):
    """Remembers whether words came after --: those are a program, whatever they look like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["queuectl.program"] = "--" in args
        return super().parse_args(ctx, args)


@click.command("enqueue", cls=Words)
@click.argument("words", nargs=-1, metavar="[JSON | - | -- PROGRAM ARGS...]")
@click.option("-c", "--command", metavar="CMD", help="A command for /bin/sh.")
@click.option("--job", metavar="JSON", help="A job as a JSON object, as the argument is.")
@click.option("--file", "path", metavar="FILE", help="Many jobs: one JSON object a line; - is stdin.")
@click.option("--skip-bad", is_flag=True, help="With many jobs: name the bad lines and enqueue the others.")
@click.option("--id", metavar="ID", help="The job's id; refused if a job here has it.  [default: made by queuectl]")
@click.option("--priority", type=int, metavar="0..9", help="Higher runs first, and lower may starve.  [default: 5]")
@click.option("--delay", metavar="TIME", help='Not before this much time, such as 90 or "10m".')
@click.option("--run-at", metavar="WHEN", help="Not before this time, ISO 8601; without a zone it is this machine's.")
@click.option("--max-retries", type=int, metavar="N", help="Attempts in all before the job is dead.  [default: setting max_retries]")
@click.option("--timeout", metavar="TIME", help="End an attempt after this much time.  [default: setting timeout]")
@click.option("--cwd", metavar="DIR", help="Where it runs.  [default: here]")
@click.option("--env", "env", multiple=True, metavar="K=V", help="A variable for the command; may be given often.")
@click.option(
    "--export",
    default="",
    metavar="all|none|NAME,...",
    help="Which of our variables come along.  [default: PATH, HOME, LANG, LC_*, TZ, VIRTUAL_ENV, CONDA_*]",
)
@click.option("--name", metavar="TEXT", help="A name for people.")
@click.pass_obj
def enqueue_(
    spool: Spool, /, words: tuple[str, ...], command: str | None, job: str | None, path: str | None, skip_bad: bool, **flags: Any
) -> None:
    """Put a job into the queue and print its id: it is on disk then.

    A command after -c is run by /bin/sh; words after -- are run as they are, without a shell. The job runs where it was
    enqueued. One id is one job: an id that is in the spool in any state is refused with exit code 4.

    \b
    queuectl enqueue -c 'make report > report.txt' --delay 10m
    queuectl enqueue -- convert "my photo.jpg" -resize 50% small.jpg
    queuectl enqueue '{"id": "job1", "command": "sleep 2", "priority": 9}'
    generate-jobs | queuectl enqueue -
    """
    given = {"JSON or a program": bool(words), "-c": command is not None, "--job": job is not None, "--file": path is not None}
    if sum(given.values()) != 1:
        names = " and ".join(name for name, is_given in given.items() if is_given)
        raise click.UsageError(
            f"give one job, not {names}" if names else "what shall run? give JSON, -c 'CMD', -- PROGRAM ARGS, or --file FILE"
        )
    defaults = read_flags(flags)
    is_program = bool(click.get_current_context().meta["queuectl.program"] and words)
    if path is not None or (words == ("-",) and not is_program):
        _enqueue_many(spool, _lines(path or "-"), defaults, skip_bad=skip_bad)
        return
    record = {"command": list(words)} if is_program else read_record(words, command, job)
    click.echo(spool.enqueue(complete_job(record, defaults)))


def read_record(words: tuple[str, ...], command: str | None, job: str | None) -> object:
    """The job that was asked for: JSON, a command after -c, or a program, unless it came after --."""
    if command is not None:
        return {"command": command}
    text = job if job is not None else words[0]
    if job is not None or (len(words) == 1 and text.lstrip().startswith(("{", "["))):
        return load(text.encode(errors="surrogateescape"))
    if len(words) == 1 and any(c in text for c in " \t\n;|&<>$"):
        raise click.UsageError(f"is {text!r} a shell command (-c {text!r}), JSON (it begins with '{{'), or a program (-- PROGRAM ARGS)?")
    return {"command": list(words)}


def read_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """The fields that the command line gives to every job: `forced` by flags, else where a job says nothing."""
    run_at = flags.pop("run_at")
    if run_at is not None:
        try:
            run_at = units.iso(units.instant(run_at, zone=None))
        except ValueError as error:
            raise InvalidJob(str(error), "--run-at") from None
    env = dict(_pair(text) for text in flags.pop("env"))
    exported = _exported(flags.pop("export"))
    cwd = flags.pop("cwd")
    forced = {key: value for key, value in {**flags, "run_at": run_at}.items() if value is not None}
    if cwd is not None:
        forced["cwd"] = os.path.abspath(cwd)
    return {"forced": forced, "env": env, "exported": exported, "cwd": os.getcwd()}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise Wrong(f"--env {text!r}: write NAME=VALUE")
    return name, value


def _exported(wanted: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_") and render.is_text(name + value)}
    if wanted == "all":
        return ours
    if wanted == "none":
        return {}
    if wanted:
        return {name: os.environ[name] for name in wanted.split(",") if name in os.environ}
    return {name: value for name, value in ours.items() if name in EXPORTED or name.startswith(EXPORTED_FAMILIES)}


def complete_job(record: object, defaults: dict[str, Any]) -> Job:
    """The job of a record and of what `read_flags` found."""
    if not isinstance(record, dict):
        return from_dict(record)
    env = record.get("env", {})
    merged = {"cwd": defaults["cwd"], **record, **defaults["forced"]}
    if isinstance(env, dict):
        merged["env"] = {**defaults["exported"], **env, **defaults["env"]}
    for one, other in (("run_at", "delay"), ("delay", "run_at")):
        if one in defaults["forced"] and other not in defaults["forced"]:
            merged.pop(other, None)
    return from_dict(merged)


# -- many jobs


def _lines(path: str) -> Iterable[bytes]:
    if path == "-":
        return sys.stdin.buffer
    try:
        return open(path, "rb")
    except OSError as error:
        raise Wrong(f"cannot read {path}: {error.strerror}") from None


def _enqueue_many(spool: Spool, lines: Iterable[bytes], defaults: dict[str, Any], *, skip_bad: bool) -> None:
    if "id" in defaults["forced"]:
        raise click.UsageError("--id names one job; give each line an id of its own")
    jobs, bad = _read(spool, lines, defaults)
    for number, error in bad:
        click.echo(f"queuectl: line {number}: {error}", err=True)
    if bad and not skip_bad:
        code = 4 if all(isinstance(error, IdTaken) for _, error in bad) else 2
        click.echo(f"queuectl: nothing was enqueued; correct {len(bad)} of {len(bad) + len(jobs)} lines, or use --skip-bad", err=True)
        raise click.exceptions.Exit(code)
    for block in _blocks(jobs):
        click.echo("\n".join(spool.enqueue_all(block)))


def _read(spool: Spool, lines: Iterable[bytes], defaults: dict[str, Any]) -> tuple[list[Job], list[tuple[int, Exception]]]:
    jobs: list[Job] = []
    bad: list[tuple[int, Exception]] = []
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            job = complete_job(load(line), defaults)
            if job.id is not None:
                if job.id in first:
                    raise InvalidJob(f"{job.id!r} is the id of line {first[job.id]} already", "id")
                first[job.id] = number
                if spool.is_taken(job.id):
                    raise IdTaken(job.id, spool.state_of(job.id))
            jobs.append(job)
        except (InvalidJob, IdTaken) as error:
            bad.append((number, error))
    return jobs, bad


def _blocks(jobs: list[Job]) -> Iterable[list[Job]]:
    blocks = [jobs[start : start + BULK] for start in range(0, len(jobs), BULK)]
    if not sys.stderr.isatty():
        return blocks
    from rich.console import Console
    from rich.progress import track

    return track(blocks, "enqueueing", console=Console(stderr=True), transient=True)
