"""queuectl run: a job as if it ran here."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any

import click

from queuectl import actions, liveness, lookup, phase
from queuectl.cli import logs
from queuectl.cli.fields import Words, complete_job, flags, last_is, read_flags, read_record
from queuectl.errors import WrongState
from queuectl.spool import Spool


@click.command("run", cls=Words)
@click.argument("words", nargs=-1, metavar="[JSON | -- PROGRAM ARGS...]")
@click.option("-c", "--command", metavar="CMD", help="A command for /bin/sh.")
@flags
@click.pass_obj
def run_(spool: Spool, /, words: tuple[str, ...], command: str | None, **flags: Any) -> None:
    """Enqueue a job, show what it prints while it runs, and end with its exit code.

    Its id is printed on stderr. Exit codes are those of `queuectl wait`. Ctrl+C cancels the job and waits for its end; a second
    one leaves at once. If this command is ended otherwise, or its terminal is closed, the job stays in the queue.

    \b
    queuectl run -c 'make test'
    queuectl run --limit gpu --timeout 2h -- python train.py
    """
    if bool(words) == (command is not None):
        raise click.UsageError(
            "what shall run? give -c 'CMD', or -- PROGRAM ARGS, or a job in JSON"
        )
    defaults = read_flags(spool, flags)
    last_is(spool, defaults)
    is_program = bool(click.get_current_context().meta["queuectl.program"] and words)
    record = {"command": list(words)} if is_program else read_record(words, command, None)
    job, interrupt = complete_job(record, defaults), Interrupt()
    id = spool.enqueue(job)
    click.echo(f"queuectl: job {id}", err=True)
    _note_missing_workers(spool)
    logs.Follower(spool, lookup.find(spool, id)).follow(lambda: interrupt.obey(spool, id))
    [waited] = actions.wait(spool, [id], None, lambda _: None) or []
    raise click.exceptions.Exit(waited.code)


def _note_missing_workers(spool: Spool) -> None:
    if spool.is_paused():
        return  # that is said
    if not any(worker["alive"] for worker in lookup.workers(spool, liveness.Observer(spool))):
        click.echo(
            "queuectl: note: no worker is alive here; the job will not run before 'queuectl worker start'",
            err=True,
        )


class Interrupt:
    """The first Ctrl+C is a wish to cancel, obeyed where no output is lost or shown twice; the second ends this command."""

    def __init__(self) -> None:
        self._is_wanted = False
        self._interrupts = phase.Interrupts()
        signal.signal(signal.SIGINT, self._want)

    def _want(self, *_: object) -> None:
        if self._interrupts.is_second():
            raise KeyboardInterrupt
        self._is_wanted = True

    def obey(self, spool: Spool, id: str) -> None:
        """Cancel the job, if that is wanted and not done yet."""
        if self._is_wanted:
            self._is_wanted = False
            click.echo(f"queuectl: cancelling job {id}", err=True)
            with suppress(WrongState):  # RACE: it has just ended by itself
                actions.cancel(spool, id)
