"""A job: what a person asked for, read once and never rewritten.

A job file is one JSON object, UTF-8. `command` is the only field it must have; the
table of all fields is docs/format.md. What the file leaves out (max_retries, timeout)
is None here and is taken from the settings when it matters.

Promises
    parse accepts exactly the documented fields and refuses everything else with a
    reason that names the field, so that a typo never silently changes a job.
    parse(job.to_bytes()) is the same job.
Leaves to others
    ids of our own (ids), names (filename), whether the id is free (spool).
Raises
    InvalidJob, with `field`; Unfinished (strict) if the text merely stops too early.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from queuectl import codes, units
from queuectl.errors import InvalidJob
from queuectl.filename import is_id
from queuectl.strict import kind, load, unknown, writer

#: Priority of a job that names none.
PRIORITY = 5

#: Fields that other queuectls write and that our names and directories say instead.
IGNORED = frozenset({"state", "attempts", "updated_at"})

#: The most attempts a job may ask for.
MOST_RETRIES = 1000

#: Bytes that Linux accepts: in one word or variable of a command, in a path, and in all words and variables.
LONGEST_WORD, LONGEST_PATH, LONGEST_COMMAND = 131_071, 4095, 6 * 1024 * 1024

#: Where longer data belongs.
ELSEWHERE = "a file, or into stdin (--stdin FILE)"

#: No text of so few characters is too long, nor are so few words and as many variables.
SHORT, FEW = LONGEST_PATH // 4, 20


class _Nothing(dict[str, str]):
    """No variables, for all jobs that have none: it stays empty."""

    def __setitem__(self, name: str, value: str) -> None:
        raise TypeError("a job's fields do not change; make another with _replace")


class Job(NamedTuple):
    """One job's fields. Durations are seconds, times seconds since 1970 in UTC; None means "as the settings say"."""

    command: str | tuple[str, ...]
    id: str | None = None
    priority: int = PRIORITY
    run_at: float | None = None
    delay: float | None = None
    max_retries: int | None = None
    timeout: float | None = None
    cwd: str | None = None
    env: Mapping[str, str] = _Nothing()
    stdin: str | None = None
    name: str | None = None
    meta: Any = None
    created_at: float | None = None
    submitted_by: str | None = None
    batch: str | None = None
    limit: str | None = None
    unique: str | None = None
    after: tuple[str, ...] = ()
    after_any: tuple[str, ...] = ()
    after_failed: tuple[str, ...] = ()
    success_codes: tuple[int, ...] | None = None
    no_retry_codes: tuple[int, ...] | None = None
    retry_after_codes: Mapping[int, float] | None = None

    @property
    def predecessors(self) -> tuple[str, ...]:
        """The ids of all jobs that this one waits for."""
        return self.after + self.after_any + self.after_failed

    def rules(self, general: codes.Rules) -> codes.Rules:
        """What its exit codes mean; where it says nothing the `general` rules hold."""
        if (
            self.success_codes is None
            and self.no_retry_codes is None
            and self.retry_after_codes is None
        ):
            return general
        return codes.Rules(
            general.success if self.success_codes is None else self.success_codes,
            general.final if self.no_retry_codes is None else self.no_retry_codes,
            general.delays if self.retry_after_codes is None else self.retry_after_codes,
        )

    def due(self, created: float) -> float:
        """When the job may start, for a job that came in at `created`."""
        if self.run_at is not None:
            return self.run_at
        return created + (self.delay or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object for this job: only what differs from the defaults."""
        record: dict[str, Any] = {}
        for (key, default), value in zip(_DEFAULTS.items(), self, strict=True):
            try:
                if value != default:
                    writer = _WRITERS.get(key)
                    record[key] = writer(value) if writer else value
            except Exception as error:  # a program can put anything there
                raise InvalidJob(f"cannot be {kind(value)} ({error})", key) from None
        return record

    def to_bytes(self) -> bytes:
        """The contents of a job file."""
        return "".join((*_pieces(self.to_dict(), 0), "\n")).encode()


_DEFAULTS: dict[str, Any] = {"command": None, **Job._field_defaults}


def record_of(job: object) -> object:
    """The JSON object that a program means by a Job, a shell command, an argv or the path of a program."""
    if isinstance(job, Job):
        return job.to_dict()
    if isinstance(job, str | list | tuple):
        return {"command": job}
    return {"command": [job]} if isinstance(job, os.PathLike) else job


_pieces = writer(", ", ": ", ascii_only=False)

_WRITERS: dict[str, Callable[[Any], Any]] = {
    "command": lambda value: value if isinstance(value, str) else list(value),
    "run_at": units.iso,
    "created_at": units.iso,
    **dict.fromkeys(
        ("after", "after_any", "after_failed", "success_codes", "no_retry_codes"), list
    ),
    "retry_after_codes": codes.show_delays,
}


def parse(data: bytes) -> Job:
    """The job that `data` describes."""
    return from_dict(load(data))


def from_dict(record: object, came: float | None = None) -> Job:
    """The job that a decoded JSON value describes; created when it `came`, if it does not say when."""
    if not isinstance(record, dict):
        raise InvalidJob(
            f'a job is a JSON object such as {{"command": "echo hi"}}, not {kind(record)}'
        )
    values: dict[str, Any] = {}
    for key, value in record.items():
        reader = _READERS.get(key)
        if reader is not None:
            values[key] = None if value is None and key in _OPTIONAL else reader(value, key)
        elif key not in IGNORED:
            raise InvalidJob(unknown(key, _READERS))
    if "command" not in values:
        raise InvalidJob("is missing; it is the one field that a job must have", "command")
    if values.get("run_at") is not None and values.get("delay") is not None:
        raise InvalidJob("cannot stand together with delay; give one of them", "run_at")
    command, env = values["command"], values.get("env", _DEFAULTS["env"])
    if len(env) > FEW or (len(command) > FEW and not isinstance(command, str)):
        _check_total(command, env)
    if came is not None and values.get("created_at") is None:
        values["created_at"] = round(came, 6)
    delay = values.get("delay")
    if delay and (values.get("created_at") or 0.0) + delay > units.LATEST:
        raise InvalidJob("ends after the year 2199", "delay")
    return Job(**values)


# One reader for each field: (value, key) -> the value inside a Job, or InvalidJob.


def _exact(value: Any, key: str) -> str:
    """The text itself of a str, or of what inherits from it: an enum, for one, is formatted as something else."""
    if not isinstance(value, str):
        raise InvalidJob(f"must be a string, not {kind(value)}", key)
    return str.__str__(value)


def _text(value: Any, key: str) -> str:
    if type(value) is not str:
        value = _exact(value, key)
    if "\0" in value:
        raise InvalidJob("must not contain a NUL character", key)
    return value if value.isascii() else _encodable(value, key)


def _encodable(value: str, key: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidJob("must be text that UTF-8 can hold", key) from None
    return value


def _check_length(text: str, key: str, what: str = "", most: int = LONGEST_WORD) -> None:
    """Refuse what the system never starts, before a job is made of it."""
    length = len(text.encode())
    if length > most:
        cure = f"put it into {ELSEWHERE}" if most == LONGEST_WORD else "shorten it"
        raise InvalidJob(
            f"{what}has {length} bytes, and the system accepts {most} at most; {cure}", key
        )


def _check_total(command: str | tuple[str, ...], env: Mapping[str, str]) -> None:
    words = [*([command] if isinstance(command, str) else command)]
    words += [f"{name}={env[name]}" for name in env]
    length = sum(len(word.encode()) + 9 for word in words)  # a NUL and a pointer for each
    if length > LONGEST_COMMAND:
        why = f"takes {length} bytes with its variables, and the system accepts {LONGEST_COMMAND}"
        raise InvalidJob(f"{why} at most; put them into {ELSEWHERE}", "command")


def _command(value: Any, key: str) -> str | tuple[str, ...]:
    if isinstance(value, list | tuple):
        if not value:
            raise InvalidJob("must name a program; the list is empty", key)
        words = tuple(value)
        for word in words:
            if type(word) is not str:
                words = tuple(_word(each, key) for each in words)
                break
        if len(_text("".join(words), key)) > SHORT:
            _check_length(words[0], key, "the program ", LONGEST_PATH)
            for word in words:
                _check_length(word, key, "a word ")
        if not words[0].strip():
            raise InvalidJob("must name a program; the first word is empty", key)
        return words
    if not isinstance(value, str):
        raise InvalidJob(f"must be a string or a list of strings, not {kind(value)}", key)
    if not value.strip():
        raise InvalidJob("must not be empty", key)
    text = _text(value, key)
    if len(text) > SHORT:
        _check_length(text, key)
    return text


def _word(value: Any, key: str) -> str:
    """A word of an argv; a path is one, too."""
    return _exact(os.fspath(value) if isinstance(value, os.PathLike) else value, key)


def _id(value: Any, key: str) -> str:
    text = _text(value, key)
    if not is_id(text):
        raise InvalidJob(
            f"{text[:140]!r} is no id; use 1 to 128 of the letters A-Z a-z 0-9 . _ - and begin with a letter or digit",
            key,
        )
    return text


def _whole(low: int, high: int) -> Callable[[Any, str], int]:
    def read(value: Any, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidJob(f"must be a whole number from {low} to {high}, not {kind(value)}", key)
        if not low <= value <= high:
            raise InvalidJob(f"must be from {low} to {high}", key)
        return int(value)  # an enum, for one, is formatted as something else

    return read


def _cwd(value: Any, key: str) -> str:
    text = _text(value, key)
    if not text.startswith("/"):
        raise InvalidJob(f"{text[:80]!r} must be an absolute path", key)
    if len(text) > SHORT:
        _check_length(text, key, most=LONGEST_PATH)
    return text


def _stdin(value: Any, key: str) -> str:
    return _encodable(_exact(value, key), key)


def _key(most: int, more: str) -> Callable[[Any, str], str]:
    """A name that people choose for what jobs share."""
    allowed = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-" + more)

    def read(value: Any, key: str) -> str:
        text = _text(value, key)
        if not (0 < len(text) <= most and allowed.issuperset(text) and text[0].isalnum()):
            also = "".join(f" {sign}" for sign in more)
            raise InvalidJob(
                f"{text[:80]!r} must be 1 to {most} of A-Z a-z 0-9 . _ -{also} and begin with a letter or digit",
                key,
            )
        return text

    return read


#: Reads the name of a limit.
limit_name = _key(64, ":")


def _ids(value: Any, key: str) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise InvalidJob(f"must be an id or a list of ids, not {kind(value)}", key)
    return tuple(dict.fromkeys(_id(word, key) for word in words))


def _read_as(reader: Callable[[object], Any]) -> Callable[[Any, str], Any]:
    """A reader for what settings and jobs both say."""

    def read(value: Any, key: str) -> Any:
        try:
            return reader(value)
        except ValueError as error:
            raise InvalidJob(str(error), key) from None

    return read


def _env(value: Any, key: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidJob(f"must be an object of strings, not {kind(value)}", key)
    for name, text in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise InvalidJob(f"{str(name)[:80]!r} is no name for a variable", key)
        _encodable(name, key)
        if len(_text(text, f"{key}.{name[:80]}")) + len(name) > SHORT:
            _check_length(f"{name}={text}", f"{key}.{name[:80]}")
    return value


def _json(value: Any, key: str) -> Any:
    try:
        text = json.dumps({key: value}, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidJob(f"must be something that JSON can hold ({error})", key) from None
    try:
        # What a program gives may be deeper than a file, or have the keys 1 and "1".
        return load(text)[key]  # type: ignore[index]
    except InvalidJob as error:
        raise InvalidJob(error.why, key) from None


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "command": _command,
    "id": _id,
    "priority": _whole(0, 9),
    "run_at": _read_as(units.instant),
    "delay": _read_as(units.seconds),
    "max_retries": _whole(1, MOST_RETRIES),
    "timeout": _read_as(units.seconds),
    "cwd": _cwd,
    "env": _env,
    "stdin": _stdin,
    "name": _text,
    "meta": _json,
    "created_at": _read_as(units.instant),
    "submitted_by": _text,
    "batch": _key(100, ""),
    "limit": limit_name,
    "unique": _key(150, ":@+=,"),
    "after": _ids,
    "after_any": _ids,
    "after_failed": _ids,
    "success_codes": _read_as(codes.read),
    "no_retry_codes": _read_as(codes.read),
    "retry_after_codes": _read_as(codes.read_delays),
}

#: Fields that may be null, which says as much as leaving them out.
_OPTIONAL = frozenset(_READERS) - {
    "command",
    "id",
    "priority",
    "env",
    "after",
    "after_any",
    "after_failed",
}
