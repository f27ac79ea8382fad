"""How commands choose jobs: the same words in all of them, and a verb for each job that is chosen."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from queuectl import lookup
from queuectl.cli import complete
from queuectl.errors import NoSuchJob, QueuectlError, WrongState
from queuectl.layout import STATES, Entry
from queuectl.selection import Selection
from queuectl.spool import Spool

if TYPE_CHECKING:
    from queuectl.cli.refusals import Refusals

#: Jobs whose moves are made durable together.
BLOCK = 100

#: Says what was done to a job; None: the job was not where it had been seen.
Act = Callable[[Entry], str | None]


def jobs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the words that choose jobs; it gets a Selection as `chosen`, first after the spool."""

    @click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=complete.ids)
    @click.option(
        "--batch", metavar="NAME", help="Only jobs of this batch.", shell_complete=complete.batches
    )
    @click.option(
        "--state",
        "states",
        type=click.Choice(STATES),
        multiple=True,
        help="Only jobs in this state; may be given often.",
    )
    @click.option(
        "--name",
        "glob",
        metavar="GLOB",
        help="Only jobs whose name fits, such as 'nightly-*'; reads the files of all others, too.",
    )
    @functools.wraps(command)
    def with_selection(
        spool: Spool,
        /,
        ids: tuple[str, ...],
        batch: str | None,
        states: tuple[str, ...],
        glob: str | None,
        **rest: Any,
    ) -> Any:
        return command(
            spool,
            Selection(spool, ids=list(dict.fromkeys(ids)), batch=batch, states=states, name=glob),
            **rest,
        )

    return click.pass_obj(with_selection)


def first(listed: Callable[[int], Iterable[Entry]], limit: int) -> list[Entry]:
    """The first `limit` jobs of a list, 0: all; that there are more is said."""
    found = list(listed(limit + 1 if limit else 0))
    if 0 < limit < len(found):
        click.echo(f"there are more than these {limit}; --limit 0 lists all", err=True)
        del found[limit:]
    return found


def some(chosen: Selection) -> Selection:
    """Refuse to do something to every job because nothing was said."""
    if chosen.is_everything:
        raise click.UsageError(
            "which jobs? name them, or say --batch, --state or --name; 'last' is the one that was enqueued last"
        )
    return chosen


def each(chosen: Selection, able: Iterable[str], act: Act, *, asks: bool = False) -> None:
    """Do something to each job that is chosen, and print what was done; with `asks` only if the user agrees.

    A refusal is printed and the others go on; the first gives the exit code. Jobs that were not named one by one are left alone
    if they are in no state in which this can be done.
    """
    from queuectl.cli.refusals import Refusals  # only what acts on jobs needs it

    spool, refusals, done = some(chosen).spool.open(), Refusals(), 0
    found = _named(chosen, refusals) if chosen.ids else chosen.entries(able)
    found = _agreed(found) if asks else found
    while block := list(islice(found, 1 if chosen.ids else BLOCK)):
        lines = []
        with spool.together():
            for entry in block:
                try:
                    lines.append(lookup.pursue(spool, entry, _still(chosen, entry, able, act)))
                except (WrongState, NoSuchJob) as error:
                    if chosen.ids:  # RACE: else it has moved on since it was listed
                        refusals.add(error, entry.name.id)
                except QueuectlError as error:
                    refusals.add(error, entry.name.id)
        for line in lines:
            click.echo(line)
        done += len(lines)
    refusals.close()
    if not done and not refusals.codes:
        click.echo("no job is left to do this to", err=True)
    if refusals.codes:
        raise click.exceptions.Exit(refusals.codes[0])


def _agreed(found: Iterator[Entry]) -> Iterator[Entry]:
    """These jobs, if the user agrees that they are removed: nothing brings them back."""
    jobs = list(found)
    count = f"{len(jobs)} job{'s' if len(jobs) > 1 else ''}"
    if jobs and not sys.stdin.isatty():
        raise click.UsageError(f"this removes {count} for good; say --yes to remove them")
    if jobs:
        click.confirm(f"Remove {count} for good, with logs and history?", abort=True, err=True)
    return iter(jobs)


def _still(chosen: Selection, first: Entry, able: Iterable[str], act: Act) -> Act:
    """The same act for a job that moves away from where it was `first`: only while it is chosen."""

    def do(entry: Entry) -> str | None:
        # RACE: `remove --state dead` must not remove a job that somebody has just brought back.
        if entry is not first and not (chosen.has(entry) and (chosen.ids or entry.state in able)):
            raise WrongState(
                f"job {entry.name.id} is {entry.state} by now, which is not what was chosen"
            )
        return act(entry)

    return do


def _named(chosen: Selection, refusals: Refusals) -> Iterator[Entry]:
    for id in chosen.ids:
        try:
            entry = chosen.find(id)
        except QueuectlError as error:
            refusals.add(error, id)
        else:
            if entry is not None:
                yield entry


def one(spool: Spool, id: str) -> Entry:
    """The one job to look at: its id, a unique beginning, or `last`."""
    entry = Selection(spool.open()).find(id, lookup.find_by_beginning)
    assert entry is not None  # nothing else was said that it might not fit
    return entry
