"""queuectl worker: start, stop, list; install and uninstall are in service."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource

from queuectl import config, host, processes, units
from queuectl.cli import Group, complete, show
from queuectl.errors import QueuectlError, Wrong, complaint
from queuectl.log import Log
from queuectl.logfile import LogFile
from queuectl.spool import Spool
from queuectl.turns import Turns


def _start_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed([
        click.option("--spool", "paths", multiple=True, metavar="DIR", help="A spool to serve; several share the workers, in turns."),
        click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="Workers to run."),
        click.option("--daemon", is_flag=True, help="Run in the background; prints its pid and its log's path."),
        click.option("--drain", is_flag=True, help="End when nothing is left to run, now or later, here or elsewhere."),
        click.option("--duration", metavar="TIME", help='End after this much time, such as 15 or "8h"; running jobs finish.'),
        click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How events are logged."),
        click.option("--allow-root", is_flag=True, help="Run as root the jobs of somebody else's spool."),
        click.option("--set", "values", multiple=True, metavar="KEY=VALUE", help="A setting, for these workers only."),
    ]):  # fmt: skip
        command = option(command)
    return command


class _Workers(Group):
    """The commands; those about units are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "install", "uninstall"])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in ("install", "uninstall"):
            command: click.Command = getattr(import_module("queuectl.cli.service"), name)
            return command
        return super().get_command(ctx, name)


@click.group("worker", cls=_Workers, invoke_without_command=True)
@_start_options
@click.pass_context
def worker_(ctx: click.Context, /, **options: Any) -> None:
    """Run workers, stop them, look at them.

    Without a command: the same as `worker start`.

    \b
    queuectl worker --count 1 --duration 15
    queuectl worker list
    """
    given = [
        name for name in options if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if ctx.invoked_subcommand is None:
        _start(ctx.obj, **options)
    elif given:
        raise click.UsageError(
            f"--{given[0].replace('_', '-')} belongs behind '{ctx.invoked_subcommand}'"
        )


@worker_.command("start")
@_start_options
@click.pass_obj
def start(spool: Spool, /, **options: Any) -> None:
    """Run jobs until told to stop; one log line for each event.

    TERM, HUP or Ctrl+C: finish the running jobs, then end; repeating it changes nothing. QUIT, or Ctrl+C twice on a terminal:
    end the running jobs now and put them back, uncounted. Other signals are ignored, or end it as a crash does.

    Several `worker start` on one spool share its jobs. One `worker start` may serve several spools: --count workers in all,
    which the spools with work get in turns.

    \b
    queuectl worker start --count 4
    queuectl worker start --daemon --log-format json
    queuectl worker start --drain
    queuectl worker start --count 4 --spool ~/fast --spool ~/slow
    """
    _start(spool, **options)


def _start(
    spool: Spool,
    paths: tuple[str, ...],
    count: int,
    daemon: bool,
    drain: bool,
    duration: str | None,
    log_format: str,
    allow_root: bool,
    values: tuple[str, ...],
) -> None:
    processes.close_inherited()
    if daemon:
        _leave_job()
    seconds, given = _seconds(duration, "--duration"), flags(values)
    spools = [Spool(path, flags=given).make() for path in paths or (spool.path,)]
    if len({each.path for each in spools}) < len(spools):
        raise Wrong("--spool: a spool is named twice")
    for each in spools:
        each.guard(allow_root=allow_root)
        each.settings()
    form: Any = log_format
    colour = not daemon and sys.stderr.isatty() and show.may_colour()

    def supervise(ready: Callable[[], None] = lambda: None, file: LogFile | None = None) -> None:
        _serve(
            spools,
            count,
            lambda common: Log(2, form, colour=colour, common=common, file=file),
            ready,
            drain=drain,
            duration=seconds,
        )

    if daemon:
        name = f"workers-{host.place().host}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
        _detach(spools[0].at("logs", name), supervise)
    else:
        supervise()


def _leave_job() -> None:
    """Be no part of the job that this command may run in: as one, a daemon would be ended with it.

    What a process was started with names its job, so it takes another start.
    """
    clean = config.without_identity(os.environ)
    if clean != os.environ:
        words = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, words, clean)  # the same process


def _serve(
    spools: list[Spool],
    count: int,
    log: Callable[[dict[str, str]], Log],
    ready: Callable[[], None],
    *,
    drain: bool,
    duration: float | None,
) -> None:
    """Serve one spool in this process, several with a supervisor each."""
    from queuectl.supervisor import Supervisor

    if len(spools) == 1:
        Supervisor(spools[0], count, log({}), drain=drain, duration=duration).run(ready)
        return
    from queuectl.fleet import Fleet

    def serve(spool: Spool, turns: Turns, ready: Callable[[], object]) -> None:
        Supervisor(
            spool, count, log({"spool": spool.path}), drain=drain, duration=duration, turns=turns
        ).run(ready)

    Fleet(count, [partial(serve, spool) for spool in spools]).run(ready)


def _seconds(text: str | None, option: str) -> float | None:
    try:
        return None if text is None else units.seconds(text)
    except ValueError as error:
        raise Wrong(f"{option}: {error}") from None


def flags(values: tuple[str, ...]) -> dict[str, Any]:
    """The settings that `--set` gives."""
    found: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise Wrong(f"--set {text!r}: write KEY=VALUE")
        name, value = config.read(name, value)
        if name in found:
            raise Wrong(f"--set {name} is given twice; give it once")
        if name == "shared" or name.startswith(config.LIMIT):
            what = "it" if name == "shared" else "a limit"
            raise Wrong(
                f"--set {name}: {what} holds for the whole spool; 'queuectl config set {name} {value}'"
            )
        found[name] = value
    return found


def _detach(path: str, supervise: Callable[[Callable[[], None], LogFile], None]) -> None:
    """Supervise in the background; return when all workers are up, or fail with what the log says."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    if os.fork():
        os.close(writer)
        pid = os.read(reader, 32).decode()
        if not pid:
            raise QueuectlError(f"the workers did not come up; see {path}")
        click.echo(f"{pid} {path}")
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    code = 1
    try:
        os.close(reader)
        log = LogFile(path)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir("/")

        def ready() -> None:
            nonlocal writer
            if writer >= 0:
                os.write(writer, str(os.getpid()).encode())
                os.close(writer)
                writer = -1

        supervise(ready, log)
        code = 0
    except Exception as error:  # whatever it is, the log must say it
        os.write(2, f"queuectl: {complaint(error)}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(code)


@worker_.command("stop")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.workers)
@click.option("--host", metavar="HOST", help="Those on another host.")
@click.option("--all-hosts", is_flag=True, help="Those on all hosts.")
@click.option(
    "--timeout",
    metavar="TIME",
    help="Wait at most this long for them to end.  [default: as long as it takes]",
)
@click.option(
    "--now", is_flag=True, help="End the running commands too, and put their jobs back uncounted."
)
@click.pass_obj
def stop(
    spool: Spool,
    /,
    names: tuple[str, ...],
    host: str | None,
    all_hosts: bool,
    timeout: str | None,
    now: bool,
) -> None:
    """Stop the workers of this spool on this host, or elsewhere, and wait until they are gone.

    They finish the jobs they have; only --now ends those, however often this is said. NAME, a worker's name or its beginning
    up to a hyphen, stops its supervisor and so all the workers that were started with it. A host is what has its name, also a
    container. Containers and other hosts hear of it at their next heartbeat. Exit code 1 if some still run after --timeout.

    \b
    queuectl worker stop
    queuectl worker stop --now --timeout 30
    queuectl worker stop --all-hosts
    """
    if (host is not None) + all_hosts + bool(names) > 1:
        raise click.UsageError("--host, --all-hosts and names exclude each other")
    spool.open()
    from queuectl import stopping

    chosen = stopping.Chosen(host, all_hosts, names)
    stopped, left = stopping.stop(spool, _seconds(timeout, "--timeout"), now=now, chosen=chosen)
    if not (stopped or left):
        where = f"on {host}" if host else "anywhere" if all_hosts else "on this host"
        click.echo(f"no workers of this spool run {where}{_elsewhere(spool)}", err=True)
    for who in stopped:
        click.echo(f"stopped {who}")
    if left:
        raise QueuectlError(
            f"still running: {', '.join(left)}; wait longer, or 'queuectl worker stop --now'"
        )


def _elsewhere(spool: Spool) -> str:
    """Which hosts have workers of the spool, in words; "" if none has."""
    from queuectl import liveness, lookup

    workers = lookup.workers(spool, liveness.Observer(spool))
    hosts = sorted({str(worker["host"]) for worker in workers if worker["alive"]})
    return f"; some run on {', '.join(hosts)}: see --host and --all-hosts" if hosts else ""


@worker_.command("list")
@show.json_option
@click.pass_obj
def list_workers(spool: Spool, /, as_json: bool) -> None:
    """Who works here, and what each one runs.

    A worker that is not alive has died and waits for its rescue by the next supervisor.

    \b
    queuectl worker list
    queuectl worker list --json
    """
    from queuectl import liveness, lookup

    found = lookup.workers(spool.open(), liveness.Observer(spool))
    if as_json:
        show.document(found)
    elif found:
        show.workers(found)
    else:
        click.echo("no workers; start some with 'queuectl worker start'", err=True)
    if builds := lookup.several_builds(found):
        click.echo(f"queuectl: warning: {builds}; {lookup.ONE_BUILD}", err=True)
