"""The words of commands that make jobs: a flag for each field, and what was asked for as one record."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

from queuectl import disk, host, paths, units
from queuectl.cli import Command, export, show
from queuectl.errors import InvalidJob, Wrong
from queuectl.job import Job, from_dict
from queuectl.spool import Spool
from queuectl.strict import load

#: Flags that may be given often, with ids that may be separated by commas.
AFTER = ("after", "after_any", "after_failed")


class Words(Command):
    """Remembers whether words came after --: those are a program, whatever they look like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["queuectl.program"] = "--" in args
        return super().parse_args(ctx, args)


FLAGS = (
    click.option(
        "--id",
        metavar="ID",
        help="The job's id; refused if a job here has it.  [default: made by queuectl]",
    ),
    click.option(
        "--priority",
        type=int,
        metavar="0..9",
        help="Higher runs first, and lower may starve.  [default: 5]",
    ),
    click.option("--delay", metavar="TIME", help='Not before this much time, such as 90 or "10m".'),
    click.option(
        "--run-at",
        metavar="WHEN",
        help="Not before this time, ISO 8601; without a zone it is this machine's.",
    ),
    click.option(
        "--max-retries",
        type=int,
        metavar="N",
        help="Attempts in all before the job is dead.  [default: setting max_retries]",
    ),
    click.option(
        "--timeout",
        metavar="TIME",
        help="End an attempt after this much time.  [default: setting timeout]",
    ),
    click.option("--cwd", metavar="DIR", help="Where it runs.  [default: here]"),
    click.option(
        "--env",
        "env",
        multiple=True,
        metavar="K=V",
        help="A variable for the command; may be given often.",
    ),
    click.option(
        "--export",
        metavar="ALL|NONE|NAME[=VALUE],...",
        help="Which of our variables come along: these, or ALL of them and NAME=VALUE.  [default: PATH, HOME, LANG, LC_*, TZ, VIRTUAL_ENV, CONDA_*]",
    ),
    click.option(
        "--stdin",
        metavar="FILE",
        help="What the command reads: the contents of this file now, as text; - is our stdin.",
    ),
    click.option("--name", metavar="TEXT", help="A name for people."),
    click.option(
        "--batch",
        metavar="NAME",
        help="The batch that it belongs to: other commands take --batch NAME, too.",
    ),
    click.option(
        "--limit",
        metavar="NAME",
        help="At most as many jobs with this limit run at once as the setting limit.NAME says.",
    ),
    click.option(
        "--unique", metavar="KEY", help="Refused while another job with this key waits or runs."
    ),
    click.option(
        "--after",
        multiple=True,
        metavar="ID,...",
        help="Not before these jobs have completed; may be given often.",
    ),
    click.option(
        "--after-any",
        multiple=True,
        metavar="ID,...",
        help="Not before these jobs have ended, either way.",
    ),
    click.option(
        "--after-failed", multiple=True, metavar="ID,...", help="Only after these jobs have died."
    ),
    click.option(
        "--success-codes",
        metavar="N,...",
        help="Exit codes that mean success.  [default: setting success_codes]",
    ),
    click.option(
        "--no-retry-codes",
        metavar="N,...",
        help="Exit codes that mean dead at once.  [default: setting no_retry_codes]",
    ),
    click.option(
        "--retry-after-codes",
        metavar="N=TIME,...",
        help="Exit codes that say when to try again.  [default: by setting]",
    ),
)


def flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command a flag for each field of a job."""
    for flag in reversed(FLAGS):
        command = flag(command)
    return command


def read_record(words: tuple[str, ...], command: str | None, job: str | None) -> object:
    """The job that was asked for: JSON, a command after -c, or a program, unless it came after --."""
    if command is not None:
        return {"command": command}
    text = job if job is not None else words[0]
    if job is not None or (len(words) == 1 and text.lstrip().startswith(("{", "["))):
        return _json(text, "argument" if job is None else "--job")
    if len(words) == 1 and any(c in text for c in " \t\n;|&<>$"):
        raise click.UsageError(
            f"is {text!r} a shell command (-c {text!r}), JSON (it begins with '{{'), or a program (-- PROGRAM ARGS)?"
        )
    if len(words) == 1 and os.path.isfile(text) and not _is_program(text):
        raise click.UsageError(
            f"{text} is a file that cannot be run; are there jobs in it (--file {text})?"
        )
    return {"command": list(words)}


def _json(text: str, what: str) -> object:
    try:
        return load(text.encode(errors="surrogateescape"))
    except InvalidJob as error:
        raise InvalidJob(f"{what}: {error}") from None


def _is_program(word: str) -> bool:
    import shutil  # for a word that is a file as well

    return shutil.which(word) is not None


def read_flags(spool: Spool, flags: dict[str, Any]) -> dict[str, Any]:
    """The fields that the command line gives to every job: `forced` by flags, else where a job says nothing."""
    other = _other_owner(spool)
    run_at = flags.pop("run_at")
    if run_at is not None:
        try:
            run_at = units.iso(units.instant(run_at, zone=None))
        except ValueError as error:
            raise InvalidJob(str(error), "--run-at") from None
    env = _env(flags.pop("env"))
    exported = _exported(flags.pop("export"), is_foreign=other is not None)
    cwd, stdin = flags.pop("cwd"), flags.pop("stdin", None)
    after = {
        key: [id for text in flags.pop(key, ()) for id in text.split(",") if id] or None
        for key in AFTER
    }
    forced = {
        key: value
        for key, value in {**flags, **after, "run_at": run_at}.items()
        if value is not None
    }
    if cwd is not None:
        forced["cwd"] = show.absolute("--cwd", cwd)
    if stdin is not None:
        forced["stdin"] = _text(stdin)
    here = functools.cache(lambda: _here(other))
    return {"forced": forced, "env": env, "exported": exported, "here": here}


def _other_owner(spool: Spool) -> int | None:
    """The user id of the spool's owner, if we are root and the spool is another user's."""
    if os.geteuid():
        return None
    try:
        return disk.owner(spool.path) or None
    except OSError:
        return None  # there is no spool yet, or opening it says what is wrong


def _here(other: int | None) -> str:
    """Where a job runs that names no directory; `other`: the user for whom root enqueues it."""
    try:
        place = paths.here()
    except ValueError as error:
        raise Wrong(f"{error}, or give --cwd: the job would run here") from None
    if other is not None and not disk.is_open_to(place, other, host.groups(other)):
        raise Wrong(
            f"the job would run in {place}, which the spool's owner, user {host.user(other)}, "
            "cannot enter; go to another directory, or give --cwd"
        )
    return place


def _text(path: str) -> str:
    """What is in a file that becomes the stdin of a job."""
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode()
        with open(path, "rb") as file:
            return file.read().decode()
    except OSError as error:
        raise Wrong(f"--stdin: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        why = f"{path} is not UTF-8 text (byte {error.start}), and a job can hold nothing else"
        raise Wrong(f"--stdin: {why}; let the command read it: -c 'CMD < FILE'") from None


def _env(texts: Iterable[str]) -> dict[str, str]:
    env: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise Wrong(f"--env {text!r}: write NAME=VALUE")
        if name in env:
            raise Wrong(f"--env {name} is given twice; give it once")
        env[name] = value
    return env


def _exported(wanted: str | None, *, is_foreign: bool) -> dict[str, str]:
    variables, left_out = export.choose(wanted, os.environ, is_foreign=is_foreign)
    if left_out:
        click.echo(
            f"queuectl: note: not exported, because not UTF-8 text: {', '.join(left_out)}", err=True
        )
    return variables


def complete(record: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A record with what `read_flags` found."""
    env = record.get("env", {})
    merged = {**record, **defaults["forced"]}
    if "cwd" not in merged:
        merged["cwd"] = defaults["here"]()
    if isinstance(env, dict):
        merged["env"] = {**defaults["exported"], **env, **defaults["env"]}
    for one, other in (("run_at", "delay"), ("delay", "run_at")):
        if one in defaults["forced"] and other not in defaults["forced"]:
            merged.pop(other, None)
    return merged


def complete_job(record: object, defaults: dict[str, Any]) -> Job:
    """The job of a record and of what `read_flags` found."""
    return from_dict(complete(record, defaults) if isinstance(record, dict) else record)


def last_is(spool: Spool, defaults: dict[str, Any]) -> None:
    """Put the id of the job that was enqueued last in the place of `last` among those to wait for."""
    forced = defaults["forced"]
    for key in AFTER:
        if "last" in forced.get(key, ()):
            from queuectl.selection import last

            forced[key] = [last(spool.open()).name.id if id == "last" else id for id in forced[key]]
