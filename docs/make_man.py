"""Write docs/queuectl.1, the manual page, from the help of the commands: python docs/make_man.py [FILE]"""

import re
import sys
import textwrap
from pathlib import Path

import click
from make_cli import commands

TARGET = Path(__file__).parent / "queuectl.1"

HEAD = """\
.\\" Made by docs/make_man.py; a test compares the two.
.TH QUEUECTL 1 "" "queuectl" "User Commands"
.SH NAME
queuectl \\- a background job queue in plain files
.SH SYNOPSIS
.B queuectl
[\\fB\\-\\-spool\\fR \\fIDIR\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]...
.SH DESCRIPTION
"""

TAIL = """\
.SH ENVIRONMENT
.TP
.B QUEUECTL_SPOOL
The spool, if \\fB\\-\\-spool\\fR does not name one.
.TP
.B QUEUECTL_MAX_RETRIES, QUEUECTL_TIMEOUT, ...
Each setting has a variable; see \\fBqueuectl config list\\fR.
.TP
.B QUEUECTL_JOB_ID, QUEUECTL_ATTEMPT, QUEUECTL_WORKER
What a command sees of its job.
.SH FILES
.TP
.I ~/.queuectl
The spool, unless another is named: a directory for each state, a file for each job.
.SH EXIT STATUS
0 done; 1 refused or failed; 2 wrong words; 3 no such job; 4 the id or the key is taken. \\fBwait\\fR and \\fBrun\\fR answer with the job's own code.
.SH SEE ALSO
.BR at (1),
.BR batch (1),
.BR parallel (1),
.BR systemd-run (1)
"""


def roff(text: str) -> str:
    """A text for roff: nothing in it is a command."""
    lines = [line.replace("\\", "\\e").replace("-", "\\-") for line in text.splitlines()]
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in lines)


def paragraphs(help: str) -> str:
    """The help of a command: its examples stay as they are."""
    made = []
    for part in re.split(r"\n\s*\n", help.strip()):
        if part.lstrip().startswith("\b"):
            # Python 3.13 takes the indentation of docstrings away, which older ones keep.
            examples = textwrap.dedent(part.lstrip()[1:].strip("\n"))
            made.append(f".PP\n.nf\n.RS 4\n{roff(examples)}\n.RE\n.fi")
        else:
            made.append(".PP\n" + roff(" ".join(part.split())))
    return "\n".join(made) + "\n"


def options(command: click.Command, path: str) -> str:
    """The options of a command."""
    made = ""
    with click.Context(command, info_name=path) as ctx:
        for param in command.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record and "--help" not in record[0]:
                made += f".TP\n\\fB{roff(record[0])}\\fR\n{roff(record[1])}\n"
    return made


def text() -> str:
    """The whole page."""
    from queuectl.cli import cli

    page = (
        HEAD
        + paragraphs(cli.help or "").removeprefix(".PP\n")
        + ".SH OPTIONS\n"
        + options(cli, "queuectl")
        + ".SH COMMANDS\n"
    )
    for path, command in commands(cli, "queuectl")[1:]:
        with click.Context(command, info_name=path) as ctx:
            usage = " ".join(command.collect_usage_pieces(ctx))
        page += f'.SS "{roff(path)} {roff(usage)}"\n{paragraphs(command.help or "").removeprefix(".PP" + chr(10))}{options(command, path)}'
    return page + TAIL


if __name__ == "__main__":
    (Path(sys.argv[1]) if sys.argv[1:] else TARGET).write_text(text())
