"""queuectl schedule: jobs that come again and again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from queuectl import cron, render, timetable, units
from queuectl import schedule as rules
from queuectl.cli import Group, complete, show
from queuectl.cli.enqueue import enqueue_
from queuectl.cli.fields import Words, complete_job, read_flags, read_record
from queuectl.errors import InvalidJob
from queuectl.schedule import TICKS_OWN, Schedule
from queuectl.spool import Spool
from queuectl.strict import kind

#: The options of enqueue that a schedule has as well: what they say goes into each of its jobs.
SHARED = (
    "command", "job", "priority", "max_retries", "timeout", "cwd", "env", "export", "stdin", "name", "batch", "limit", "unique",
    "success_codes", "no_retry_codes", "retry_after_codes",
)  # fmt: skip

#: The ticks that `show` foretells, and `add`.
FORETOLD, TOLD = 5, 3


@click.group("schedule", cls=Group)
def schedule_() -> None:
    """Schedules: jobs that come again and again, by cron's rules or at an interval.

    Each tick becomes a job with an id of its own, such as nightly-20261122T013000Z; any worker of the spool makes it, on whatever
    host, and there is one of each. While no worker runs nothing ticks: --catch-up says what becomes of such ticks afterwards.

    \b
    queuectl schedule add nightly --cron '30 2 * * *' -c 'make backup'
    queuectl schedule list
    """


@schedule_.command("add", cls=Words)
@click.argument("schedule", metavar="NAME")
@click.argument("words", nargs=-1, metavar="[JSON | -- PROGRAM ARGS...]")
@click.option(
    "--cron",
    metavar="EXPR",
    help="Five fields, minute to weekday, or six, the first the seconds; or @daily and the like.",
)
@click.option("--every", metavar="TIME", help='An interval that begins now, such as 90 or "10m".')
@click.option(
    "--zone",
    metavar="ZONE",
    help="The time zone of --cron, such as Europe/Berlin.  [default: this machine's]",
)
@click.option(
    "--catch-up",
    type=click.Choice(["none", "one", "all"]),
    default="one",
    show_default=True,
    help="What becomes of ticks at which no worker ran: nothing, one job for the last of them, or a job for each (1000 at most).",
)
@click.pass_obj
def add(
    spool: Spool,
    /,
    schedule: str,
    words: tuple[str, ...],
    command: str | None,
    job: str | None,
    **flags: Any,
) -> None:
    """Add a schedule: from now on each of its ticks becomes a job. The job's options are those of `queuectl enqueue`.

    A time in an hour that the zone skips is made up at its end; in an hour that is repeated it comes once, unless minute or hour
    begin with *, as Debian's cron has it. What is environment and directory of the job is taken now.

    \b
    queuectl schedule add reindex --every 10m --timeout 5m -- /srv/bin/reindex --all
    queuectl schedule add report --cron '0 9 * * MON-FRI' --zone America/New_York --catch-up none -c 'make report'
    """
    given = {"JSON or a program": bool(words), "-c": command is not None, "--job": job is not None}
    if sum(given.values()) != 1:
        raise click.UsageError("what shall run? give one of -c 'CMD', -- PROGRAM ARGS, and JSON")
    rule = {key: flags.pop(key) for key in ("cron", "every", "zone", "catch_up")}
    is_program = bool(click.get_current_context().meta["queuectl.program"] and words)
    record = {"command": list(words)} if is_program else read_record(words, command, job)
    if not isinstance(record, dict):
        raise InvalidJob(f"a job is a JSON object, not {kind(record)}")
    if own := next((key for key in TICKS_OWN if key in record), None):
        raise InvalidJob("comes with each tick; leave it out", own)
    template = complete_job(record, read_flags(spool, {**flags, "run_at": None})).to_dict()
    rule = {key: value for key, value in rule.items() if value is not None}
    added = timetable.add(spool, schedule, {**rule, "job": template})
    click.echo(f"{schedule} added")
    _foretell(added)


def _foretell(schedule: Schedule) -> None:
    """Say on stderr when a new schedule ticks, as the clocks of its zone show it."""
    zone = cron.zone(schedule.zone or "UTC")
    ticks = rules.upcoming(schedule, schedule.created_at or 0, TOLD)
    shown = [datetime.fromtimestamp(tick, zone).isoformat() for tick in ticks]
    click.echo(f"queuectl: next: {', '.join(shown) or 'never'}", err=True)


# The same options as those of enqueue, with the same help.
add.params += [param for param in enqueue_.params if param.name in SHARED]


@schedule_.command("list")
@show.json_option
@click.pass_obj
def list_schedules(spool: Spool, /, as_json: bool) -> None:
    """List schedules: when they tick, how far off the next tick is, and how long ago the last one was dealt with.

    \b
    queuectl schedule list
    queuectl schedule list --json
    """
    found = timetable.records(spool.open())
    if as_json:
        show.document(found)
        return
    if not found:
        click.echo("no schedules", err=True)
        return
    now = spool.now()
    rows = [
        (
            r["name"],
            r["state"],
            _when(r),
            _ahead(r["next_at"], now),
            _back(r["last_at"], now),
            _what(r),
        )
        for r in found
    ]
    show.table(
        ["NAME", "STATE", "WHEN", "NEXT", "LAST", "COMMAND"],
        rows,
        lambda row: {"damaged": "dead"}.get(row[1], ""),
    )


def _when(record: dict[str, Any]) -> str:
    if record["cron"] is not None:
        return f"{record['cron']} {record['zone']}"
    return f"every {record['every']}" if record["every"] is not None else "-"


def _ahead(time: str | None, now: float) -> str:
    return "-" if time is None else f"in {units.ago(units.instant(time) - now)}"


def _back(time: str | None, now: float) -> str:
    return "-" if time is None else f"{units.ago(now - units.instant(time))} ago"


def _what(record: dict[str, Any]) -> str:
    return str(record["reason"] or render.command(record["command"]))


@schedule_.command("show")
@click.argument("name", shell_complete=complete.schedules)
@show.json_option
@click.pass_obj
def show_schedule(spool: Spool, /, name: str, as_json: bool) -> None:
    """Everything about one schedule: its rule, its next ticks, its job. The values of the job's variables are left out.

    \b
    queuectl schedule show nightly
    queuectl schedule show nightly --json
    """
    record = timetable.look_at(
        spool.open(), name, lambda spool, kept: timetable.full_record(spool, kept, FORETOLD)
    )
    if as_json:
        show.document(record)
        return
    job = record.pop("job", {})
    job.pop("command", None)
    job["env"] = ", ".join(job["env"]) if "env" in job else None
    command, ticks = record.pop("command"), record.pop("next", [])
    shown = {
        **record,
        "next": ", ".join(map(str, ticks)) or None,
        "command": render.command(command) if command else None,
    }
    show.fields([*shown.items(), *((f"job.{key}", value) for key, value in job.items())])


@schedule_.command("remove")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.schedules
)
@click.pass_obj
def remove(spool: Spool, /, names: tuple[str, ...]) -> None:
    """Remove schedules; the jobs that came of them stay.

    \b
    queuectl schedule remove nightly
    queuectl schedule remove nightly report
    """
    spool.open()

    def remove(name: str) -> str:
        timetable.remove(spool, name)
        return f"{name} removed"

    show.each(names, remove)


@schedule_.command("pause")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.schedules
)
@click.pass_obj
def pause(spool: Spool, /, names: tuple[str, ...]) -> None:
    """Let schedules tick no more until `queuectl schedule resume`; jobs that they have made run as they would.

    \b
    queuectl schedule pause nightly
    queuectl schedule pause nightly report
    """
    spool.open()
    show.each(
        names,
        lambda name: f"{name} {'paused' if timetable.pause(spool, name) else 'was paused already'}",
    )


@schedule_.command("resume")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.schedules
)
@click.pass_obj
def resume(spool: Spool, /, names: tuple[str, ...]) -> None:
    """Let schedules tick again, from now on: what would have come while they were paused is not made up.

    \b
    queuectl schedule resume nightly
    queuectl schedule resume nightly report
    """
    spool.open()
    show.each(
        names,
        lambda name: f"{name} {'resumed' if timetable.resume(spool, name) else 'was not paused'}",
    )


@schedule_.command("run")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.schedules
)
@click.pass_obj
def run(spool: Spool, /, names: tuple[str, ...]) -> None:
    """Put a job of a schedule into the queue now, beside its ticks and also while it is paused; print the job's id.

    \b
    queuectl schedule run nightly
    queuectl wait "$(queuectl schedule run nightly)"
    """
    spool.open()
    show.each(names, lambda name: timetable.run(spool, name))
