"""The layout of a spool on disk: which directories there are, and what is in them.

Promises
    open reads nothing but a spool that it knows; make finishes what a crash left half made,
    and never fills a directory that holds other things.
    Looking reads names only, as they come: a listing is a sample while others move files.
Leaves to others
    what a name means (filename), every move of a job (spool).
Raises
    SpoolMissing, SpoolUnusable, SpoolVersion; OSError with the path when the disk refuses.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple, Self

from queuectl import config, disk, events, host, paths, results
from queuectl.errors import ConfigDamaged, InvalidJob, SpoolMissing, SpoolUnusable, SpoolVersion
from queuectl.filename import MOST_ATTEMPTS, Name, decode, has_shape, id_of, is_drop
from queuectl.strict import load

#: The states, in the order of a job's life; each is the name of its directory.
STATES = ("held", "pending", "processing", "blocked", "failed", "completed", "dead")

#: The states in which a job waits: it can be changed, held, or cancelled by a move.
WAITING = ("held", "pending", "blocked", "failed")

#: The states that a job leaves only if somebody wants that.
ENDED = ("completed", "dead")

#: The states whose directory has a directory for each worker, or for each thing that jobs wait for.
NESTED = ("processing", "blocked")

#: The other directories of a spool.
BESIDE = ("rejected", "results", "logs", "workers", "ids", "tmp")

#: The directories that are made when they are first needed: states and others.
LATER = ("held", "blocked", "unique", "limits", "batches", "schedules", "hooks", "events")

#: The directories that every spool has.
MADE = (*(state for state in STATES if state not in LATER), *BESIDE)

#: Seconds between the clocks of this host and of a file server from which on it matters, and for which a comparison holds.
SKEW, CLOCK_AGE = 2.0, 60.0

#: The file whose being there pauses the spool.
PAUSED = "paused"

#: How the file begins that says who pruned the spool last.
PRUNED = "pruned."

#: The format that this program reads and writes.
VERSION = 1

_serial = itertools.count()


class Entry(NamedTuple):
    """A job file as a listing shows it. `file` is its path from the spool; `worker` whose it is in processing/.

    In blocked/ the directory that holds it says what the job waits for.
    """

    state: str
    name: Name
    file: str
    worker: str | None = None


@functools.cache
def _maker(pid: int) -> str:
    """What names in tmp/ begin with that process `pid`, which is us, has made; later processes get its number, too."""
    return f"{pid}~{host.place()}~{host.nonce()}-"


def _place(path: str | bytes | os.PathLike[Any]) -> str:
    """The absolute path of the spool that somebody names `path`."""
    try:
        return paths.absolute(path)
    except ValueError as error:
        shown = os.fsdecode(path)
        raise SpoolUnusable(f"cannot use the spool {shown!r}: {error}, or use --spool") from None
    except TypeError as error:
        raise TypeError(f"path: {error}") from None


class Layout:
    """The directories of the spool at `path`; `flags` are settings that beat those of the environment and config.json."""

    def __init__(
        self,
        path: str | bytes | os.PathLike[Any],
        flags: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = _place(path)
        self._flags = {} if flags is None else config.checked(flags)
        self._live: config.Live | None = None
        self._known: object = None
        self._shared: bool | None = None
        self._skew, self._ahead, self._measured = 0.0, 0.0, -math.inf
        self.complain: Callable[[str], None] | None = None
        self._journal: events.Journal | None = None
        self._identity: tuple[int, int, int] | None = None

    def at(self, *parts: str) -> str:
        """The absolute path of something in the spool."""
        return "/".join((self.path, *parts))

    @property
    def is_shared(self) -> bool:
        """Whether several hosts may use this spool: as the setting `shared` says, or by its file system.

        Decided once, when the spool is there.
        """
        if self._shared is not None:
            return self._shared
        try:
            setting = self.settings().shared
        except ConfigDamaged:
            setting = "auto"  # whoever wants a setting hears of it
        is_shared = host.is_shared(self.path, setting)
        if self._known is not None or self.exists():
            self._shared = is_shared
        return is_shared

    def locked(
        self, *parts: str, patience: float = config.PATIENCE
    ) -> contextlib.AbstractContextManager[None]:
        """A context in which nobody else holds the lock file at this place in the spool."""
        return config.locked(self.at(*parts), shared=self.is_shared, patience=patience)

    # -- the spool itself

    def open(self) -> Self:
        """Check that there is a spool here that we can read. Costs one look at spool.json if it is as it was the last time."""
        try:
            version = disk.version(self.at("spool.json"))
            if version is not None and version == self._known:
                return self
            data = disk.read(self.at("spool.json"), 65536).data
        except FileNotFoundError:
            self._refuse_foreign()
            # RACE: somebody may be making it right now.
            if not disk.is_there(self.at("spool.json")):
                raise SpoolMissing(self.path) from None
            return self.open()
        except NotADirectoryError:
            raise SpoolUnusable(
                f"{self.path} is not a directory; name another with --spool"
            ) from None
        except OSError as error:
            raise SpoolUnusable(
                f"cannot read {self.at('spool.json')} ({error.strerror}); run as the spool's owner"
            ) from None
        self._check_version(data)
        self._known = version
        return self

    def _check_version(self, data: bytes) -> None:
        try:
            record = load(data)
            version = record.get("version") if isinstance(record, dict) else None
        except InvalidJob:
            version = None
        if version != VERSION or isinstance(version, bool):
            raise SpoolVersion(
                f"{self.at('spool.json')} says version {version!r}, and this queuectl knows only {VERSION}; "
                "use the queuectl that made this spool"
            )

    def make(self) -> Self:
        """Make the spool if there is none here; then as `open`."""
        try:
            return self.open()
        except SpoolMissing:
            pass
        try:
            disk.make_all(self.path)
            self.restore()
            temporary = self.temporary()
            disk.write(temporary, json.dumps({"version": VERSION}).encode() + b"\n")
            # CRASH: spool.json comes last, so a spool that has it is whole; another `make` finishes this one.
            disk.replace(temporary, self.at("spool.json"))
            disk.sync(self.path)
        except OSError as error:
            raise SpoolUnusable(
                f"cannot make a spool at {self.path} ({error.strerror}); name another with --spool"
            ) from None
        return self

    def pin(self) -> None:
        """From now on this is the directory that is here now, and not one that takes its place."""
        self._identity = disk.identity(disk.open_directory(self.path))

    def is_itself(self) -> bool:
        """Whether the path still leads to the directory that was pinned; True if none was."""
        return self._identity is None or disk.identity(self.path) == self._identity

    def check_itself(self) -> None:
        """FileNotFoundError if the path does not lead to the pinned directory any more."""
        if not self.is_itself():
            raise FileNotFoundError(errno.ENOENT, "the spool is gone", self.path)

    def exists(self) -> bool:
        """Whether there is a spool here, readable or not."""
        try:
            return disk.is_there(self.at("spool.json"))
        except NotADirectoryError:
            return False

    def unmake(self) -> None:
        """Take back a spool that was just made and is empty; directories above it stay, and those that cannot go."""
        disk.unlink(self.at("spool.json"))
        for path in (*(self.at(name) for name in MADE), self.path):
            with contextlib.suppress(OSError):
                disk.remove(path)

    def _refuse_foreign(self) -> None:
        """A directory that holds other things is not ours to fill."""
        known = {*MADE, *LATER, "inbox", PAUSED, "config.json", "config.json.lock", "spool.json"}
        try:
            foreign = [
                name
                for name in disk.scan(self.path)
                if name not in known and not name.startswith(("config.json.lock", PRUNED))
            ]
        except NotADirectoryError:
            raise SpoolUnusable(
                f"{self.path} is not a directory; name another with --spool"
            ) from None
        except OSError as error:
            raise SpoolUnusable(
                f"cannot read {self.path} ({error.strerror}); run as its owner"
            ) from None
        if foreign:
            raise SpoolUnusable(
                f"{self.path} is no spool and holds other files, such as {foreign[0]!r}; name another with --spool"
            )

    def trusts(self, owner: int) -> bool:
        """Whether jobs in a file of this user may run here: ours, those of the spool's owner, and root's, who can do it anyway."""
        return not owner or owner == os.geteuid() or owner == disk.owner(self.path)

    def guard(self, *, allow_root: bool) -> None:
        """Refuse to run commands from a spool that others can write to, or as root from somebody else's."""
        for path in (self.path, *(self.at(name) for name in (*MADE, *LATER))):
            mode = disk.mode(path) or 0
            if mode & 0o022:
                why = f"{path} can be written to by others (mode {mode & 0o777:o}), and who writes there runs commands as you"
                raise SpoolUnusable(f"{why}; 'queuectl doctor --fix' makes it private")
        owner = disk.owner(self.path)
        if os.geteuid() == 0 and owner != 0 and not allow_root:
            why = f"{self.path} belongs to user {owner}, who would run commands as root"
            raise SpoolUnusable(f"{why}; run the workers as that user, or say --allow-root")

    def share(self, group: int) -> None:
        """Let the members of a group submit jobs: they may pass through the spool's directory and write into inbox/."""
        disk.make(self.at("inbox"))
        disk.share(self.at("inbox"), group, 0o3730)
        disk.share(self.path, group, 0o710)

    def submissions(self) -> list[str]:
        """The files in inbox/, as paths from the spool; none if this spool is not shared."""
        return sorted(f"inbox/{name}" for name in disk.scan(self.at("inbox")) if is_drop(name))

    def restore(self) -> list[str]:
        """Make those directories again that somebody has removed: their names."""
        self.check_itself()
        return [name for name in MADE if disk.make(self.at(name))]

    def need(self, name: str) -> None:
        """Make a directory that most spools never need, if there is none."""
        disk.make(self.at(name))

    def settings(self) -> config.Settings:
        """The settings in force now; with `complain` set, a config.json that got damaged meanwhile does not stop us."""
        if self._live is None:
            self._live = config.Live(self.at("config.json"), self._flags)
        return self._live.look(self.complain)

    def note(self, event: str, id: str | None, *, run: Any = None, **details: Any) -> None:
        """Tell of a change of state in events/, if the setting `events` is on; the deed is done, whatever becomes of the line."""
        live = self._live
        if (live.settings if live else self.settings()).events == "on":
            self._journal = self._journal or events.Journal(self.path, shared=self.is_shared)
            self._journal.tell(event, id, details, run)

    def is_paused(self) -> bool:
        """Whether somebody has paused this spool: no job is claimed until it is resumed."""
        return disk.is_there(self.at(PAUSED))

    def ring(self) -> None:
        """Wake supervisors on this host that rest: they watch pending/, and a file that is no job is enough."""
        bell = self.at("pending", f".bell.{host.nonce()}")
        with contextlib.suppress(OSError):  # they will look without it, later
            disk.write(bell, b"", durable=False)
            disk.unlink(bell)

    def now(self) -> float:
        """The time by which jobs become due: where several hosts share a spool, that of their file server."""
        return time.time() + self.skew()

    def skew(self) -> float:
        """Seconds by which the clock of a file server is ahead of ours; 0 for less than SKEW, and where there is no server."""
        if self._shared is False or not self.is_shared:
            return 0.0
        now = time.monotonic()
        ahead = time.time() - now  # changes when somebody sets the clock
        if now - self._measured > CLOCK_AGE or abs(ahead - self._ahead) >= SKEW:
            self._measured, self._ahead = now, ahead
            probe = self.temporary()
            disk.write(probe, b"", durable=False)
            offset = (disk.modified(probe) or time.time()) - time.time()
            disk.unlink(probe)
            self._skew = offset if abs(offset) >= SKEW else 0.0
        return self._skew

    def age(self, path: str) -> float:
        """Seconds between now and when the file at `path` (absolute) was modified; infinite without one.

        A time in the future is that of a clock that was wrong: it is no nearer than one in the past.
        """
        modified = disk.modified(path)
        return math.inf if modified is None else abs(self.now() - modified)

    def temporary(self) -> str:
        """A new path in tmp/ that says whose it is."""
        return self.at("tmp", f"{_maker(os.getpid())}{next(_serial)}")

    # -- looking at names

    def names(self, state: str) -> Iterator[str]:
        """The names in the directory of a state, as they come; a listing is a sample while others move files."""
        return disk.scan(self.at(state))

    def workers(self) -> list[str]:
        """The names in processing/: everybody who has a directory there."""
        return self.directories("processing")

    def directories(self, state: str) -> list[str]:
        """The directories in that of a nested state."""
        return sorted(disk.scan(self.at(state), directories=True))

    def held_by(self, worker: str) -> list[str]:
        """The names in the directory of one worker."""
        return sorted(disk.scan(self.at("processing", worker)))

    def places(self, state: str) -> list[str]:
        """The directories that hold the jobs of a state, as paths from the spool."""
        return (
            [f"{state}/{inner}" for inner in self.directories(state)]
            if state in NESTED
            else [state]
        )

    def entries(
        self, state: str, part: str = "", among: Container[str] | None = None
    ) -> Iterator[Entry]:
        """The jobs in a state whose names contain `part`, or only those with an id `among` these.

        Drops that no worker has admitted are not among them.
        """
        for directory in self.places(state):
            worker = directory.partition("/")[2] if state == "processing" else None
            for text in sorted(self.names(directory)) if state in NESTED else self.names(state):
                is_meant = part in text and (among is None or id_of(text) in among)
                name = decode(text) if is_meant else None  # of a million names this looks at few
                if name is not None:
                    yield Entry(state, name, f"{directory}/{text}", worker)

    def drops(self) -> list[str]:
        """The names in pending/ of files that no worker has admitted yet."""
        return sorted(
            text for text in self.names("pending") if is_drop(text) and not has_shape(text)
        )

    def count(self, state: str) -> int:
        """How many jobs are in a state; drops count as pending. Reads names only."""
        if state in NESTED:
            return sum(
                is_drop(text)
                for inner in self.directories(state)
                for text in self.names(f"{state}/{inner}")
            )
        return sum(1 for text in self.names(state) if text[-5:] == ".json" and text[0] != ".")

    def entries_of(self, id: str) -> Iterator[Entry]:
        """The files of the job `id`: one, unless somebody made a copy. Reads names only."""
        for state in STATES:
            yield from (
                entry for entry in self.entries(state, f"-{id}.json") if entry.name.id == id
            )

    def state_of(self, id: str) -> str | None:
        """The state of the job `id`, or None if it is not here."""
        return next((entry.state for entry in self.entries_of(id)), None)

    def logs(self, id: str, attempts: int) -> Iterator[str]:
        """The absolute paths of all logs that job `id` can have after so many attempts."""
        known = [run.get("attempt") for run in results.read(self.at("results"), id)]
        numbers = [attempts, *(number for number in known if isinstance(number, int))]
        for attempt in range(1, min(max(numbers), MOST_ATTEMPTS) + 1):
            yield self.log(id, attempt, "out")
            yield self.log(id, attempt, "err")

    def log(self, id: str, attempt: int, stream: str) -> str:
        """The absolute path of what attempt number `attempt` printed to `stream`, "out" or "err"."""
        return f"{self.path}/logs/{id}.{attempt}.{stream}"
