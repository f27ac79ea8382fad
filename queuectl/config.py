"""Settings: what the spool's config.json says, what the environment says, and the defaults.

A flag beats a QUEUECTL_* variable, that beats config.json, that beats the default.
Hyphens and underscores are the same: max-retries is max_retries.

Promises
    A change is made under config.json.lock, so that two at once both count, and by a
    rename, so that a reader sees the old file or the new one.
    A damaged config.json is named and never overwritten.
    A value that is refused changes nothing.
Leaves to others
    flags (cli); reading again while workers run (Live does it, a worker asks).
Raises
    InvalidSetting, ConfigDamaged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from queuectl import codes, disk, host, units
from queuectl.errors import ConfigDamaged, InvalidJob, InvalidSetting, Locked
from queuectl.job import MOST_RETRIES, limit_name
from queuectl.strict import load, near

#: Bytes of the largest config.json that is read.
LARGEST = 1024 * 1024

#: The default of worker_lost_after on a file system of several hosts, in seconds: a network may be away for a while.
LOST_AFTER_SHARED = 180.0

#: What to do about a lock that nobody lets go of; on a file system of several hosts it is made of files, which may outlive their maker.
UNLOCK = "end that process: 'fuser' or 'lslocks' shows it; on a network file system, if it is gone, remove {path} and {path}.filelock"

#: Seconds to wait for another process that is changing the settings.
PATIENCE = 10


#: Of these variables a process of a job or of a hook has at least one.
IDENTITY = ("JOB_ID", "WORKER", "SUPERVISOR", "HOOK")


class Settings(NamedTuple):
    """All settings, in force. Durations are seconds, sizes bytes; docs/cli.md has the table."""

    max_retries: int = 3
    backoff_base: float = 2.0
    backoff_max: float = 3600.0
    backoff_jitter: float = 0.1
    timeout: float = 0.0
    poll_interval: float = 2.0
    heartbeat_interval: float = 10.0
    worker_lost_after: float = 60.0
    shutdown_grace: float = 25.0
    output_tail: int = 4096
    max_output: int = 1024**3
    keep_completed: float = 7 * 86400.0
    keep_completed_count: int = 100_000
    keep_dead: float = 180 * 86400.0
    keep_events: float = 30 * 86400.0
    max_job_size: int = 1024 * 1024
    durability: str = "safe"
    log_size: int = 10 * 1024 * 1024
    prune_interval: float = 3600.0
    events: str = "off"
    success_codes: tuple[int, ...] = (0,)
    no_retry_codes: tuple[int, ...] = ()
    retry_after_codes: Mapping[int, float] = {}
    shared: str = "auto"
    limits: Mapping[str, int] = {}

    @property
    def rules(self) -> codes.Rules:
        """What exit codes mean."""
        return codes.Rules(self.success_codes, self.no_retry_codes, self.retry_after_codes)

    def limit(self, name: str) -> int:
        """How many jobs with this limit may run at once: as it says, or the longest beginning of it that ends in ":"; else 1."""
        heads = [head for head in self.limits if head.endswith(":") and name.startswith(head)]
        return self.limits.get(name, self.limits[max(heads, key=len)] if heads else 1)


class Kind(NamedTuple):
    """How a setting is read, and how people see it."""

    read: Callable[[Any], Any]
    show: Callable[[Any], Any]
    help: str


def _number(low: float, high: float, whole: bool) -> Callable[[Any], Any]:
    what = f"a {'whole ' if whole else ''}number from {low:g} to {high:g}"

    def read(value: Any) -> Any:
        try:
            number = float(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or not low <= number <= high or (whole and number != int(number)):
            raise ValueError(f"must be {what}")
        return int(number) if whole else number

    return read


def _seconds(low: float, high: float = units.LONGEST) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        result = units.seconds(value)
        if not low <= result <= high:
            raise ValueError(f"must be from {units.span(low)} to {units.span(high)}")
        return result

    return read


def _choice(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return str(value)

    return read


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value == int(value) else value


#: Every setting: its reader, how it is shown, one line of help.
SETTINGS: dict[str, Kind] = {
    "max_retries": Kind(
        _number(1, MOST_RETRIES, whole=True), _plain, "attempts in all before a job is dead"
    ),
    "backoff_base": Kind(
        _number(1, 1000, whole=False), _plain, "the retry waits base ^ attempts seconds"
    ),
    "backoff_max": Kind(_seconds(0), _plain, "seconds; no retry waits longer (plus jitter)"),
    "backoff_jitter": Kind(
        _number(0, 1, whole=False), _plain, "the part of the wait that chance may add"
    ),
    "timeout": Kind(_seconds(0), _plain, "seconds an attempt may take; 0: as long as it likes"),
    "poll_interval": Kind(
        _seconds(0.05, 86400), _plain, "seconds between two looks when nothing rings"
    ),
    "heartbeat_interval": Kind(
        _seconds(0.5, 3600), _plain, "seconds between two signs of life of a worker"
    ),
    "worker_lost_after": Kind(
        _seconds(1.5), _plain, "seconds without a sign of life until a worker counts as lost"
    ),
    "shutdown_grace": Kind(
        _seconds(0, 86400), _plain, "seconds between TERM and KILL for a command that must end"
    ),
    "output_tail": Kind(
        _number(0, 1024 * 1024, whole=True), _plain, "bytes of each stream kept in the record"
    ),
    "max_output": Kind(
        _number(0, 1e15, whole=True),
        _plain,
        "bytes a command may print before it is ended as failed; 0: no limit",
    ),
    "keep_completed": Kind(_seconds(0), units.span, "age at which prune removes completed jobs"),
    "keep_completed_count": Kind(
        _number(0, 1e9, whole=True), _plain, "completed jobs that prune leaves at most"
    ),
    "keep_dead": Kind(_seconds(0), units.span, "age at which prune removes dead jobs"),
    "keep_events": Kind(_seconds(0), units.span, "age at which prune removes a day's events"),
    "max_job_size": Kind(
        _number(64, 1024**3, whole=True), _plain, "bytes that a job file may have"
    ),
    "durability": Kind(
        _choice("safe", "strict"),
        _plain,
        "when an outcome is on disk: within a second, or before the next claim",
    ),
    "log_size": Kind(
        _number(0, 1e15, whole=True),
        _plain,
        "bytes of the log of a background supervisor before it begins another; 0: no limit",
    ),
    "prune_interval": Kind(
        _seconds(0),
        units.span,
        "time after which a supervisor prunes the spool again; 0: none does",
    ),
    "events": Kind(
        _choice("on", "off"),
        _plain,
        "whether each change of a job's state becomes a line in events/",
    ),
    "success_codes": Kind(codes.read, codes.show, "exit codes that mean success, such as 0,99"),
    "no_retry_codes": Kind(codes.read, codes.show, "exit codes after which a job is dead at once"),
    "retry_after_codes": Kind(
        codes.read_delays,
        codes.show_delays,
        "times to wait after exit codes instead of the backoff, such as 75=10m",
    ),
    "shared": Kind(
        _choice("auto", "yes", "no"),
        _plain,
        "whether several hosts use the spool; auto: unless its file system is known to be local",
    ),
}


#: What the name of a setting begins with that says how many jobs with a limit may run at once.
LIMIT = "limit."

_LIMIT_KIND = Kind(
    _number(0, 1e6, whole=True), _plain, "jobs with this limit that may run at once; 0: none"
)


def kind(name: str) -> Kind:
    """How the setting of this name is read, and shown."""
    return _LIMIT_KIND if name.startswith(LIMIT) else SETTINGS[name]


def key(text: str) -> str:
    """The setting that `text` means."""
    if not isinstance(text, str):
        raise InvalidSetting(f"a setting is named by a string, not by {type(text).__name__}")
    if text.startswith(LIMIT):
        try:
            return LIMIT + limit_name(text.removeprefix(LIMIT), "limit")
        except InvalidJob as error:
            raise InvalidSetting(str(error)) from None
    name = text.strip().lower().replace("-", "_")
    if name == "poll_interval_ms" or name in SETTINGS:
        return name
    meant = near(name, SETTINGS)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(SETTINGS)}"
    raise InvalidSetting(f"no setting {text[:60]!r}; {hint}")


def read(name: str, value: Any, source: str = "") -> tuple[str, Any]:
    """The setting and the value that `name` and `value` mean."""
    name = key(name)
    try:
        if name == "poll_interval_ms":
            name, value = "poll_interval", _number(0, 1e9, whole=False)(value) / 1000
        return name, kind(name).read(value)
    except ValueError as error:
        is_rule = str(error).startswith("must")
        why = f" {error}, not {str(value)[:80]!r}" if is_rule else f": {error}"
        raise InvalidSetting(f"{source}{name}{why}") from None


def checked(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a program gives, checked."""
    if not isinstance(flags, Mapping):
        raise TypeError(f"flags: must be settings by name, not {type(flags).__name__}")
    return dict(read(name, value) for name, value in flags.items())


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as people write them."""
    plain = {name: kind.show(getattr(settings, name)) for name, kind in SETTINGS.items()}
    return plain | {LIMIT + name: most for name, most in sorted(settings.limits.items())}


def load_file(path: str) -> dict[str, Any]:
    """What config.json says, checked; nothing if there is none."""
    try:
        data = disk.read(path, LARGEST).data
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise ConfigDamaged(
            path, str(error.strerror), "give it to the owner of the spool, and run as that user"
        ) from None
    except OSError as error:
        raise ConfigDamaged(path, error.strerror or str(error)) from None
    try:
        record = load(data)
    except InvalidJob as error:
        raise ConfigDamaged(path, str(error)) from None
    if not isinstance(record, dict):
        raise ConfigDamaged(path, "is not a JSON object")
    try:
        return dict(read(name, value) for name, value in record.items())
    except InvalidSetting as error:
        raise ConfigDamaged(path, str(error)) from None


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the QUEUECTL_* variables say; variables that are no settings are somebody else's."""
    values = {}
    for name in [*SETTINGS, "poll_interval_ms"]:
        text = environ.get("QUEUECTL_" + name.upper())
        if text:
            name, value = read(name, text, source="QUEUECTL_" + name.upper() + ": ")
            values[name] = value
    return values


def without_identity(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what makes a process part of a job or a hook; settings and the spool stay.

    The id of no job takes the place of that of the job: a process that has none may be a child of any.
    """
    if not any(environ.get(f"QUEUECTL_{name}") for name in IDENTITY):
        return dict(environ)
    kept = {"QUEUECTL_" + name.upper() for name in (*SETTINGS, "poll_interval_ms", "spool")}
    own = {
        name: value
        for name, value in environ.items()
        if not name.startswith("QUEUECTL_") or name in kept
    }
    return {**own, "QUEUECTL_JOB_ID": ""}


def settle(
    path: str, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None
) -> Settings:
    """The settings in force: `flags` over `environ` over the file at `path` over the defaults."""
    values = {**load_file(path), **from_environment(environ), **(flags or {})}
    shared = values.get("shared", "auto")
    if "worker_lost_after" not in values and host.is_shared(os.path.dirname(path), shared):
        values["worker_lost_after"] = LOST_AFTER_SHARED
    limits = {
        name.removeprefix(LIMIT): values.pop(name)
        for name in list(values)
        if name.startswith(LIMIT)
    }
    return Settings(**values, limits=limits)


class Live:
    """The settings of a program that runs on: read again when config.json changes."""

    def __init__(self, path: str, flags: Mapping[str, Any]) -> None:
        self._path, self._flags = path, dict(flags)
        self._version = disk.version(path)
        self.settings = settle(path, os.environ, flags)

    def look(self, complain: Callable[[str], None] | None = None) -> Settings:
        """The settings now.

        A file that got damaged raises ConfigDamaged, or `complain` hears of it, once; after that the last good ones stay.
        """
        version = disk.version(self._path)
        if version != self._version:
            self._version = version
            try:
                self.settings = settle(self._path, os.environ, self._flags)
            except ConfigDamaged as error:
                if complain is None:
                    raise
                complain(str(error))
        return self.settings


def change(
    path: str, temporary: str, values: Mapping[str, Any], remove: tuple[str, ...] = ()
) -> None:
    """Set and remove settings in the file at `path`, by way of a new file at `temporary`."""
    shared = host.is_shared(os.path.dirname(path), settle(path, os.environ).shared)
    with locked(path + ".lock", shared=shared):
        record = {**load_file(path), **values}
        for name in remove:
            record.pop(name, None)
        text = {name: kind(name).show(value) for name, value in sorted(record.items())}
        disk.write(temporary, json.dumps(text, indent=2).encode() + b"\n")
        # CRASH: dying before this rename leaves the old settings and a file in tmp/.
        disk.replace(temporary, path)
        disk.sync(os.path.dirname(path))


def lock_file(path: str, *, shared: bool) -> str:
    """The file that stands for the lock at `path`: the two kinds of locks would each take the other's for held."""
    return path + ".hosts" if shared else path


@contextmanager
def locked(path: str, *, shared: bool, patience: float = PATIENCE) -> Iterator[None]:
    """A context in which no other process holds the lock file at `path`; waits `patience` seconds for it.

    `shared`: whether processes of other hosts count.
    """
    import filelock  # 40 ms that only a change needs

    path = lock_file(path, shared=shared)

    # flock excludes on one host for certain; on a network only what is made of files does.
    if shared:
        lock: filelock.BaseFileLock = filelock.StrictSoftFileLock(
            path, timeout=patience, mode=disk.FILE_MODE
        )
    else:
        disk.be_there(path)
        lock = filelock.FileLock(
            path, timeout=patience, mode=disk.FILE_MODE, fallback_to_soft=False
        )
    try:
        lock.acquire()
    except filelock.Timeout:
        raise Locked(path, patience) from None
    try:
        yield
    finally:
        lock.release()
