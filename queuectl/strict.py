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
        raise Unfinished("is empty")
    try:
        return _STRICT.decode(data.removeprefix(codecs.BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        raise Unfinished(f"is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise Unfinished(
            f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise InvalidJob("is nested too deeply") from None
    except InvalidJob:
        raise
    except ValueError:  # an integer of more digits than Python converts
        raise InvalidJob("has a number that is too long") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        raise InvalidJob(f"key {next(k for k in keys if keys.count(k) > 1)!r} stands twice")
    return record


def _constant(text: str) -> NoReturn:
    raise InvalidJob(f"{text} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise InvalidJob(f"number {text} is too large")
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
    raise InvalidJob(f"is nested more than {DEEPEST} deep")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidJob("has half a surrogate pair in a string") from None


def kind(value: object) -> str:
    """What kind of JSON value this is, in words."""
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
    return kinds[type(value)]


def unknown(key: str, known: Collection[str]) -> str:
    """What is said of a key that nobody knows."""
    import difflib  # 10 ms that only a typo needs

    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; the fields are {', '.join(known)}"
    return f"unknown field {key[:60]!r}{hint}"


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
