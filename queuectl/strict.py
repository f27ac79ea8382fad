"""JSON, read strictly: what two readers could understand in two ways is refused.

Promises
    A text that is accepted is UTF-8, has no key twice, no NaN, no half surrogate pairs and no depths.
    A text that might still become JSON, because somebody is writing it, is told from one that never will.
Leaves to others
    what the value means (job, config, liveness, layout).
Raises
    InvalidJob; Unfinished if the text merely stops too early.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, NoReturn

from queuectl.errors import InvalidJob

#: The deepest nesting of lists and objects that a job may have.
DEEPEST = 100


class Unfinished(InvalidJob):
    """The text is not JSON, but might become so: somebody may still be writing it."""


def load(data: bytes) -> object:
    """The JSON value in `data`, read strictly: UTF-8, no duplicate keys, no NaN, no lone surrogates, no depths."""
    try:
        text = data.decode()
        value, end = _scan(text, 0)
        is_whole = text[end:] in ("", "\n")
    except (ValueError, StopIteration, RecursionError):
        is_whole = False
    if not is_whole:
        value = _decode(data)  # it begins or ends in another way, or this says what is wrong
    # Only an escape can make half a surrogate pair, and only brackets make depth.
    if b"\\u" in data or data.count(b"[") + data.count(b"{") > DEEPEST:
        _check_depth(value)
    return value


def _decode(data: bytes) -> object:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:
        raise InvalidJob("is UTF-16 or UTF-32; save it as UTF-8")
    if not data.strip():
        raise Unfinished('is empty; write a JSON value such as {"command": "echo hi"}')
    try:
        return _STRICT.decode(data.removeprefix(codecs.BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        raise Unfinished(f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise Unfinished(_fault(error)) from None
    except RecursionError:
        raise InvalidJob(f"is nested too deeply; use {DEEPEST} levels at most") from None
    except InvalidJob:
        raise
    except ValueError:  # an integer of more digits than Python converts
        raise InvalidJob("has a number that is too long; write it as a string") from None


#: What json says of a text, as far as it always says it; what that means, and what to do.
FAULTS = {
    "Expecting value": ("no value", "put strings into double quotes"),
    "Expecting property name": (
        "no key in double quotes",
        'write {"key": value}, without a comma at the end',
    ),
    "Illegal trailing comma": ("a comma before the end", "remove it"),
    "Expecting ':'": ("no colon after a key", 'write {"key": value}'),
    "Expecting ','": ("no comma after a value", "add it, or close the list or object"),
    "Extra data": ("more text after the value", "give one JSON value"),
    "Unterminated string": ("a string without end", "close it with a double quote"),
    "Invalid control": ("a control character in a string", r"write it as \n, \t or \u001b"),
    "Invalid \\escape": ("an unknown escape in a string", r"write \\ for a backslash"),
    "Invalid \\u": (r"\u without four hexadecimal digits", r"write \\ for a backslash"),
}


def _fault(error: json.JSONDecodeError) -> str:
    known = next((said for begin, said in FAULTS.items() if error.msg.startswith(begin)), None)
    what, cure = known or (error.msg.rstrip(": ").removesuffix(" at"), "correct it")
    line = f"line {error.lineno} " if "\n" in error.doc.strip() else ""
    return f"is not JSON: {what} at {line}column {error.colno}; {cure}"


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(k for k in keys if keys.count(k) > 1)
        raise InvalidJob(f"key {twice[:60]!r} stands twice; keep one of them")
    return record


def _constant(text: str) -> NoReturn:
    raise InvalidJob(f"is not JSON: it has no {text}; write null or a number")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise InvalidJob(f"number {text[:60]} is too large; write it as a string")
    return value


_STRICT = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)

#: The value at a place in a text, and where it ends. What `raw_decode` calls, without a call.
_scan: Callable[[str, int], tuple[object, int]] = getattr(_STRICT, "scan_once", _STRICT.raw_decode)


def _check_depth(value: object) -> None:
    """Refuse what could not be written again: deep nesting, lone surrogates."""
    level = [value]
    for _ in range(DEEPEST):
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, list):
                below += item
            elif isinstance(item, dict):
                below += [*item.keys(), *item.values()]
        if not below:
            return
        level = below
    raise InvalidJob(f"is nested too deeply; use {DEEPEST} levels at most")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidJob("has half a surrogate pair in a string; write both halves") from None


def kind(value: object) -> str:
    """What kind of value this is, in words: JSON's, or the type of Python."""
    if value is None:
        return "null"
    kinds = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value)) or type(value).__name__


#: What other queues, and people, call fields and options of ours.
ALIASES = {
    "command": "cmd shell script argv args exec run program task cmdline bash",
    "id": "job_id jobid uuid uid",
    "priority": "prio pri importance weight nice",
    "run_at": "at eta when start_at start_time scheduled_at schedule_at scheduled_for not_before run_after visible_at",
    "delay": "countdown defer start_delay delay_seconds in",
    "max_retries": "retry retries tries max_tries max_attempts attempts retry_limit retry_count num_retries",
    "timeout": "time_limit max_runtime max_time ttr walltime timeout_seconds job_timeout",
    "cwd": "dir directory workdir work_dir working_dir working_directory chdir pwd",
    "env": "environment environ envs vars variables environment_variables",
    "stdin": "input std_in",
    "name": "title label description",
    "meta": "metadata payload data body params kwargs tags extra",
    "created_at": "created timestamp enqueued_at submitted_at",
    "batch": "group queue tag project",
    "limit": "concurrency concurrency_key semaphore mutex resource",
    "unique": "unique_key job_key dedup dedupe dedup_key dedupe_key deduplication_id idempotency_key lock singleton_key",
    "after": "depends depends_on dependency dependencies deps requires needs wait_for parents",
    "success_codes": "success_exit_codes ok_codes exit_codes",
    "cron": "expression crontab schedule",
    "every": "interval period repeat",
    "zone": "timezone time_zone tz",
    "count": "workers concurrency processes jobs parallel",
}


def near(key: str, known: Collection[str]) -> str | None:
    """The name among `known` that somebody means by `key`."""
    plain = re.sub(r"(?<=[a-z\d])(?=[A-Z])|[- ]", "_", key[:60]).lower()
    meant = (name for name, others in ALIASES.items() if name in known and plain in others.split())
    if plain in known or (plain := next(meant, plain)) in known:
        return plain
    import difflib  # 10 ms that only a typo needs

    return next(iter(difflib.get_close_matches(plain, known, n=1)), None)


def unknown(key: object, known: Collection[str]) -> str:
    """What is said of a key that nobody knows."""
    meant = near(str(key), known)
    hint = f"did you mean {meant!r}?" if meant else f"the fields are {', '.join(known)}"
    return f"unknown field {str(key)[:60]!r}; {hint}"


def writer(comma: str, colon: str, *, ascii_only: bool) -> Callable[[object, int], Iterable[str]]:
    """What makes JSON of a value and 0, in pieces. JSONEncoder makes one of these anew for each value."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        encode = json.JSONEncoder(
            ensure_ascii=ascii_only, separators=(comma, colon), check_circular=False
        ).encode
        return lambda value, _: encode(value)
    quote = json.encoder.encode_basestring_ascii if ascii_only else json.encoder.encode_basestring
    pieces: Callable[[object, int], Iterable[str]] = make(
        None, _refuse, quote, None, colon, comma, False, False, True
    )
    return pieces


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"{value!r} is nothing that JSON can hold")
