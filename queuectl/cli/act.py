"""queuectl wait, cancel, remove, prune, init: doing."""

from __future__ import annotations

import grp

import click

from queuectl import actions, lookup, probe, units
from queuectl.cli import complain, show
from queuectl.errors import NoSuchJob, SpoolUnusable, Wrong
from queuectl.spool import Spool


@click.command("wait")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--timeout", metavar="TIME", help="Give up after this much time, with exit code 124.")
@show.json_option
@click.pass_obj
def wait_(spool: Spool, /, ids: tuple[str, ...], timeout: str | None, as_json: bool) -> None:
    """Wait until jobs have ended: completed, or dead. Retries are waited for.

    Exit code for one job: its own; 128 + n for signal n; 124 for a timeout, its own or of this wait; 126 or 127 if it
    could not start; 130 cancelled; 1 lost until dead. For several jobs: 0 if all completed, else 1.

    \b
    queuectl wait job1 job2
    queuectl wait job1 --timeout 10m || echo failed
    """
    try:
        seconds = None if timeout is None else units.seconds(timeout)
    except ValueError as error:
        raise Wrong(f"--timeout: {error}") from None

    def ended(job: actions.Waited) -> None:
        if not as_json:
            click.echo(f"{job.id} {job.state}", err=True)

    waited = actions.wait(spool.open(), ids, seconds, ended)
    if waited is None:
        complain(f"not all of {len(ids)} jobs ended within {timeout}", 124)
        raise click.exceptions.Exit(actions.TIMED_OUT)
    if as_json:
        show.document([{"id": job.id, "state": job.state, "exit_code": job.code} for job in waited])
    codes = [job.code for job in waited]
    raise click.exceptions.Exit(codes[0] if len(codes) == 1 else int(any(codes)))


@click.command("cancel")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def cancel_(spool: Spool, /, ids: tuple[str, ...]) -> None:
    """Cancel jobs: a waiting one goes to the dead letters, a running one is ended first (TERM, then KILL).

    It can be brought back with `queuectl dlq retry ID`. A job that is running is only asked to end: `queuectl wait ID`
    says when it has.

    \b
    queuectl cancel job1
    queuectl cancel job1 && queuectl wait job1
    """
    spool.open()

    def cancel(id: str) -> str:
        answer = actions.cancel(spool, id)
        return f"{id} cancelled" if answer == "cancelled" else f"{id} is running and has been told to end"

    show.each(ids, cancel)


@click.command("remove")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def remove_(spool: Spool, /, ids: tuple[str, ...]) -> None:
    """Remove jobs from the spool, with their logs and history; their ids are free again. A running job is refused.

    \b
    queuectl remove job1
    queuectl remove job1 job2
    """
    spool.open()

    def remove(id: str) -> str:
        entry = lookup.find(spool, id)
        if not actions.remove(spool, entry):
            raise NoSuchJob(id, spool.path)
        return f"{entry.name.id} removed"

    show.each(ids, remove)


@click.command("prune")
@show.json_option
@click.pass_obj
def prune_(spool: Spool, /, as_json: bool) -> None:
    """Remove ended jobs that are past the settings keep_completed, keep_completed_count and keep_dead.

    \b
    queuectl prune
    QUEUECTL_KEEP_COMPLETED=1d queuectl prune --json
    """
    pruned = actions.prune(spool.open(), spool.settings(), spool.now())
    if as_json:
        show.document(pruned)
    else:
        click.echo(f"removed {pruned['completed']} completed, {pruned['dead']} dead, {pruned['rejected']} rejected")


@click.command("init")
@click.argument("directory", required=False)
@click.option("--shared", metavar="GROUP", help="Let members of GROUP submit jobs, by files in DIRECTORY/inbox.")
@click.pass_obj
def init_(spool: Spool, /, directory: str | None, shared: str | None) -> None:
    """Make a spool at DIRECTORY, or at the place that --spool or QUEUECTL_SPOOL names. One that is there stays as it is.

    The first `enqueue`, `worker start` or `config set` does this as well. What members of GROUP drop into the inbox runs
    as the owner of the workers, and is stamped with their name; they cannot look at jobs, nor at each other's.

    \b
    queuectl init
    queuectl init /srv/jobs --shared lab
    """
    spool = Spool(directory) if directory else spool
    try:
        group = grp.getgrnam(shared).gr_gid if shared else None
    except KeyError:
        raise Wrong(f"--shared: no group {shared!r} on this machine") from None
    is_new = not spool.exists()
    spool.make()
    for fault in probe.probe(spool):
        if fault.is_fatal:
            if is_new:
                spool.unmake()
            raise SpoolUnusable(f"{fault.what}; {fault.cure}")
        click.echo(f"queuectl: warning: {fault.what}; {fault.cure}", err=True)
    if group is not None:
        spool.share(group)
    click.echo(spool.path)


@click.command("pause")
@click.pass_obj
def pause_(spool: Spool, /) -> None:
    """Let no job begin until `queuectl resume`, on any host; those that run go on, and enqueueing does.

    \b
    queuectl pause
    queuectl --spool /srv/jobs pause
    """
    click.echo("paused" if actions.pause(spool.open()) else "paused already", err=True)


@click.command("resume")
@click.pass_obj
def resume_(spool: Spool, /) -> None:
    """Let jobs begin again after `queuectl pause`.

    \b
    queuectl resume
    queuectl --spool /srv/jobs resume
    """
    click.echo("resumed" if actions.resume(spool.open()) else "it was not paused", err=True)
