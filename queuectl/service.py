"""The service: a systemd unit that runs the workers of one spool, and the file that holds it.

Promises
    A unit of ours says so in its first line; no other file is ever replaced or removed.
    A path or a setting comes through systemd's quoting as it is, or is refused.
Leaves to others
    the words of the command line, and systemctl (cli); what systemd is told meanwhile (notify).
Raises
    ServiceError; OSError from the disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from queuectl import disk, paths, render
from queuectl.errors import ServiceError

#: How the first line of a unit of ours begins.
MARK = "# Written by 'queuectl worker install'"

#: Bytes of the largest unit that is read.
LARGEST = 1 << 20

#: The unit, but for what differs.
TEXT = """\
{mark}; 'queuectl worker uninstall' removes it.
[Unit]
Description=queuectl workers of {description}
RequiresMountsFor={spool}
{after}
[Service]
{user}Type=notify
NotifyAccess=main
ExecStart={command}
# However long the disk is full: a start that takes long must not end the jobs that run already.
TimeoutStartSec=infinity
# A supervisor whose loop hangs is ended, with its workers and their commands; the next one runs their jobs again.
WatchdogSec=2min
WatchdogSignal=SIGKILL
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
# TERM for the supervisor alone: running jobs end first, however long that takes. 'queuectl worker stop --now' is quicker.
KillMode=mixed
TimeoutStopSec=infinity
# A job that runs out of memory ends by itself, not with all the others.
OOMPolicy=continue
# Jobs are any commands, so nothing confines them. What 'systemctl edit' may add, and what jobs then cannot do:
# NoNewPrivileges=yes (sudo, ping), PrivateTmp=yes (share /tmp), ProtectSystem=full (change /usr, /etc),
# ProtectHome=read-only (write into homes, also a spool there), PrivateDevices=yes (GPUs); MemoryMax=, CPUQuota=.

[Install]
WantedBy={wanted}
"""


class Unit(NamedTuple):
    """A unit: the absolute path of the spool, the words of the command, and for the whole system the user's name, else ""."""

    spool: str
    command: Sequence[str]
    user: str

    def text(self) -> str:
        """What the file says."""
        program, *words = (_quoted(word) for word in self.command)
        return TEXT.format(
            mark=MARK,
            description=self.spool.replace("%", "%%"),
            spool=_quoted(self.spool),
            after="After=remote-fs.target network-online.target\nWants=network-online.target\n"
            if self.user
            else "",
            user=f"User={_quoted(self.user)}\n" if self.user else "",
            command=" ".join([program, *(word.replace("$", "$$") for word in words)]),
            wanted="multi-user.target" if self.user else "default.target",
        )


def _quoted(word: str) -> str:
    """A word as systemd reads it back."""
    if not (word.isprintable() and render.is_text(word)):
        raise ServiceError(
            f"{render.printable(word)!r} cannot be written into a unit; use a path of plain letters"
        )
    if word and all(c.isalnum() or c in "/._-=:,+@~" for c in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def directory(*, is_system: bool) -> str:
    """Where systemd looks for the units of an administrator, or of this user."""
    if is_system:
        return "/etc/systemd/system"
    config = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        # Its specification says that a relative path counts as none.
        base = config if config.startswith("/") else paths.absolute("~/.config")
    except ValueError as error:
        raise ServiceError(f"cannot tell where your units are: {error}, or --directory") from None
    return os.path.join(base, "systemd", "user")


def install(path: str, unit: Unit, *, force: bool) -> bool:
    """Put the unit into the file at `path`. False: it is there already."""
    old, text = read(path), unit.text()
    if old == text:
        return False
    if old is not None and not old.startswith(MARK):
        raise ServiceError(
            f"{path} was not written by queuectl; choose another --name, or move it away"
        )
    if old is not None and not force:
        raise ServiceError(
            f"{path} is there and says other things; --force replaces it, --print shows what it would say"
        )
    disk.make_all(os.path.dirname(path))
    temporary = f"{path}.{os.getpid()}.new"
    disk.write(temporary, text.encode())
    # CRASH: dying before the rename leaves the old unit, and a file that systemd does not read.
    disk.share(temporary, disk.group(temporary), 0o644)
    disk.replace(temporary, path)
    disk.sync(os.path.dirname(path))
    return True


def uninstall(path: str) -> None:
    """Remove the unit at `path`."""
    old = read(path)
    if old is None:
        raise ServiceError(f"there is no {path}; see --user, --system, --name and --directory")
    if not old.startswith(MARK):
        raise ServiceError(f"{path} was not written by queuectl; remove it by hand if you mean it")
    disk.unlink(path)
    disk.sync(os.path.dirname(path))


def read(path: str) -> str | None:
    """What the file at `path` says; None if there is none."""
    try:
        return disk.read(path, LARGEST).data.decode(errors="replace")
    except FileNotFoundError:
        return None
