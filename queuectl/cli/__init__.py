"""The command line: words in, verbs out, records printed. The only room that prints.

Each family of commands is a module here, imported when one of its commands is used.

Promises
    Results go to stdout, everything else to stderr.
    Every refusal is one line with its cure and an exit code that says which kind:
    1 refused or failed, 2 wrong words, 3 no such job, 4 the id is taken.
    Never a traceback for what a user, a file or a signal did.
Leaves to others
    everything that is not words.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from queuectl.errors import QueuectlError, SpoolUnusable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from queuectl.spool import Spool

#: Where each command lives, and its help in a line: reading that of all of them must not load all of them.
COMMANDS = {
    "enqueue": ("enqueue", "Put a job into the queue and print its id: it is on disk then."),
    "worker": ("worker", "Run workers, stop them, look at them."),
    "status": ("look", "How many jobs are in each state, what waits longest, and who works."),
    "top": ("top", "Watch the spool in this terminal while it changes, and act on its jobs."),
    "list": (
        "look",
        "List jobs: running, pending (next first), failed (due first), dead and completed (newest first).",
    ),
    "show": ("look", "Everything about one job: its fields, and each of its runs."),
    "logs": ("logs", "What a job's command printed: its stdout on stdout, its stderr on stderr."),
    "run": ("run", "Enqueue a job, show what it prints while it runs, and end with its exit code."),
    "wait": ("wait", "Wait until jobs have ended: completed, or dead."),
    "hold": ("change", "Let waiting jobs wait until they are released, in held/."),
    "release": ("change", "Let held jobs run when they are due, at once if that is over."),
    "set": ("change", "Give waiting jobs another priority or another time."),
    "retry": (
        "change",
        "Let failed jobs run now instead of at their time, and bring dead ones back with all their attempts again.",
    ),
    "cancel": (
        "act",
        "Cancel jobs: a waiting one goes to the dead letters, a running one is ended first (TERM, then KILL).",
    ),
    "remove": (
        "act",
        "Remove jobs from the spool, with their logs and history; their ids are free again.",
    ),
    "prune": (
        "act",
        "Remove ended jobs that are past the settings keep_completed, keep_completed_count and keep_dead.",
    ),
    "schedule": (
        "schedule",
        "Schedules: jobs that come again and again, by cron's rules or at an interval.",
    ),
    "dlq": ("dlq", "The dead letters: jobs out of retries, or cancelled."),
    "config": ("settings", "Settings of the spool."),
    "pause": (
        "act",
        "Let no job begin until `queuectl resume`, on any host; those that run go on, and enqueueing does.",
    ),
    "resume": ("act", "Let jobs begin again after `queuectl pause`."),
    "init": (
        "init",
        "Make a spool at DIRECTORY, or at the place that --spool or QUEUECTL_SPOOL names.",
    ),
    "completion": (
        "completion",
        "Print a script that completes commands, options and names by the Tab key.",
    ),
    "doctor": ("doctor", "Say what is wrong with the spool, and mend it with --fix."),
    "dashboard": ("dashboard", "Show the spool in a browser, until told to stop."),
    "metrics": ("watch", "How the spool is, for Prometheus."),
    "events": (
        "watch",
        "What has happened to jobs, oldest first: a line for each change of state.",
    ),
}

#: What to do about an error of the disk that has no better words.
CURES = {
    errno.ENOSPC: "make room on the disk and try again",
    errno.EDQUOT: "your quota is used up: make room and try again",
    errno.EROFS: "the file system is read-only: mount it writable, or name another spool with --spool",
    errno.EXDEV: "a spool must be on one file system, with its tmp/ and its states",
    errno.EACCES: "run as the owner of the spool, or name another with --spool",
    errno.EPERM: "run as the owner of the spool, or name another with --spool",
    errno.EMFILE: "too many open files: raise 'ulimit -n'",
    errno.ENFILE: "too many open files on this machine",
}


#: What click makes of words: values by option, words that are left, and options in order.
Parsed = tuple[dict[str, Any], list[str], list[click.Parameter]]

#: What is said of a stdout that takes no more.
_UNPRINTED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Command(click.Command):
    """A command that refuses what it would ignore: a second value of an option that takes one."""

    def make_parser(self, ctx: click.Context) -> Any:
        """Create the parser of the command's words."""
        parser: Any = super().make_parser(ctx)
        parser.parse_args = partial(_parse, ctx, parser.parse_args)
        return parser


class Group(Command, click.Group):
    """The same for a group, and for each command in it."""

    command_class = Command


def _parse(ctx: click.Context, parse: Callable[[list[str]], Parsed], args: list[str]) -> Parsed:
    try:
        options, rest, order = parse(args)
    except click.NoSuchOption as error:
        raise _meant(ctx, error) from None
    for option in order:
        takes_one = isinstance(option, click.Option) and not (option.multiple or option.is_flag)
        if takes_one and order.count(option) > 1 and not ctx.resilient_parsing:
            name = " or ".join(option.opts)
            raise click.UsageError(f"{name} is given twice; give it once", ctx)
    return options, rest, order


def _meant(ctx: click.Context, error: click.NoSuchOption) -> click.NoSuchOption:
    """The same error with a better guess, if other queues call one of our options so."""
    from queuectl.strict import near  # only a typo needs it

    names = (name for param in ctx.command.params for name in param.opts)
    known = {name[2:].replace("-", "_"): name for name in names if name.startswith("--")}
    option = known.get(near(error.option_name.lstrip("-"), known) or "")
    if option is None or not error.option_name.startswith("--"):
        return error
    message = f"No such option {error.option_name!r}. Did you mean {option!r}?"
    return click.NoSuchOption(error.option_name, message, ctx=ctx)


class Family(Group):
    """The commands, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(
            import_module(f"queuectl.cli.{COMMANDS[name][0]}"), name + "_"
        )
        gc.freeze()
        gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; what is none may be one with a typo."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """What Tab offers for the name of a command."""
        from click.shell_completion import CompletionItem

        found: list[CompletionItem[Any]] = [
            CompletionItem(name, help=line)
            for name, (_, line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _show_version(ctx: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if is_wanted:
        from queuectl.build import build

        click.echo(f"queuectl, version {build()}")
        ctx.exit()


@click.group(
    cls=Family,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--spool",
    "path",
    metavar="DIR",
    envvar="QUEUECTL_SPOOL",
    default="~/.queuectl",
    show_default=True,
    help="The spool to work on.  [env: QUEUECTL_SPOOL]",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and the build, and exit.",
)
@click.pass_context
def cli(ctx: click.Context, path: str) -> None:
    """Background jobs in plain files: a directory is the queue, a JSON file is a job, a rename is a change of state.

    \b
    queuectl enqueue -c 'echo hi'         put a job in
    queuectl worker start --count 2       run jobs
    queuectl                              how things are (the same as: queuectl status)

    At least once. A job is safe once `enqueue` has returned (or once your rename into `pending/` is on disk): no crash
    of a worker, of the machine or of a disk that is full loses it. A job whose worker died runs again.

    Exit codes: 0 done; 1 refused or failed; 2 wrong words; 3 no such job; 4 the id is taken.
    """
    ctx.obj = _spool(ctx, path)
    if ctx.invoked_subcommand is None:
        from queuectl.cli.look import status_

        ctx.invoke(status_)


class _NoSpool:
    """Stands for a spool without a path. Commands that need no spool go on, such as help."""

    def __init__(self, error: QueuectlError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> NoReturn:
        raise self._error


def _spool(ctx: click.Context, path: str) -> Spool | _NoSpool:
    from queuectl.spool import Spool

    # click takes an empty variable for one that is not set.
    is_default = ctx.get_parameter_source("path") is ParameterSource.DEFAULT
    if is_default and os.environ.get("QUEUECTL_SPOOL") == "":
        return _NoSpool(SpoolUnusable("QUEUECTL_SPOOL is empty; unset it, or name a directory"))
    try:
        return Spool(path)
    except SpoolUnusable as error:
        return _NoSpool(error)


def main() -> None:
    """The program."""
    # `queuectl list | head -1` ends as every Unix tool does.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    keep_standard_descriptors()
    try:
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = invoke()
    except KeyboardInterrupt:
        code = 130
    end(code)


def end(code: int) -> NoReturn:
    """End the process now: everything is written, and taking the interpreter apart costs a tenth of a short command."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def keep_standard_descriptors() -> None:
    """Somebody may have started us with stdin, stdout or stderr closed: no file of ours may get their numbers."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
        if fd == 0:
            sys.stdin = open(fd, closefd=False)  # noqa: SIM115  for as long as we live
        if fd == 1:
            sys.stdout = open(fd, "w", closefd=False)  # noqa: SIM115
        if fd == 2:
            sys.stderr = open(fd, "w", closefd=False)  # noqa: SIM115
    os.close(fd)
    if sys.stdout.encoding.lower() != "utf-8" and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a job may hold letters that this terminal has not


def invoke(argv: list[str] | None = None) -> int:
    """Run the program with these words and answer its exit code."""
    try:
        code: Any = cli.main(argv, prog_name="queuectl", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.option_name == "--spool":
            return complain(
                "--spool comes before the command, as in: queuectl --spool DIR status",
                error.exit_code,
            )
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except QueuectlError as error:
        return complain(str(error), error.exit_code)
    except OSError as error:
        return complain(trouble(error), 1)


def trouble(error: OSError) -> str:
    """What the disk refused, and the cure."""
    if not error.filename and error.errno in _UNPRINTED:  # what fails on the disk says where
        return f"cannot print: {error.strerror}; what was asked for is done, see 'queuectl list'"
    where = " -> ".join(os.fsdecode(path) for path in (error.filename, error.filename2) if path)
    cure = CURES.get(error.errno or 0, "see 'queuectl status', and the file system")
    return f"{where}{': ' if where else ''}{error.strerror or error}; {cure}"


def complain(message: str, code: int) -> int:
    """One line on stderr."""
    click.echo(f"queuectl: {' '.join(message.splitlines())}", err=True)
    return code
