"""Exit codes: which mean success, which say that another try is pointless, which say when to try again. Pure.

A job or the settings may say so; a command line says it in a text, or as JSON does, in lists and objects:

    success_codes      [0, 99]         "0,99"           these are success, 0 only if it is among them
    no_retry_codes     [100]           "100"            dead at once
    retry_after_codes  {"75": "10m"}   "75=10m,76=1h"   another try after this time, instead of the backoff

Promises
    Readers accept what they show.
Raises
    ValueError with a reason for people.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from queuectl import units
from queuectl.errors import InvalidJob
from queuectl.strict import load

#: An exit code as a text: no sign, no space, no digits of other scripts.
_WRITTEN = re.compile(r"0*\d{1,3}", re.ASCII)


class Rules(NamedTuple):
    """What the exit codes of one job mean; delays are seconds."""

    success: tuple[int, ...] = (0,)
    final: tuple[int, ...] = ()
    delays: Mapping[int, float] | None = None

    def after(self, code: int | None) -> float | None:
        """Seconds until another try after a failure with this exit code: infinite for none, None for the usual backoff."""
        if code is None:
            return None
        return math.inf if code in self.final else (self.delays or {}).get(code)


def read(value: object) -> tuple[int, ...]:
    """Exit codes from a list of numbers, or from a text such as "0,99"."""
    if isinstance(value, str):
        value = _json(value) if value.lstrip().startswith("[") else value.replace(",", " ").split()
    if not isinstance(value, list | tuple):
        raise ValueError('must be a list of exit codes, such as [0, 99] or "0,99"')
    return tuple(sorted({_code(word) for word in value}))


def _code(word: object) -> int:
    code = int(word) if isinstance(word, str) and _WRITTEN.fullmatch(word) else word
    if not isinstance(code, int) or isinstance(code, bool) or not 0 <= code <= 255:
        raise ValueError(f"{word!r} is no exit code; they are from 0 to 255")
    return int(code)


def read_delays(value: object) -> dict[int, float]:
    """Delays in seconds by exit code, from an object, or from a text such as "75=10m"."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _json(value)
    if isinstance(value, str):
        words = value.replace(",", " ").split()
        if bad := [word for word in words if "=" not in word]:
            raise ValueError(f"{bad[0]!r} does not say when; write CODE=TIME, such as 75=10m")
        pairs = [word.partition("=")[::2] for word in words]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        raise ValueError('must be times by exit codes, such as {"75": "10m"} or "75=10m"')
    found: dict[int, float] = {}
    for word, delay in pairs:
        if (code := _code(word)) in found:
            raise ValueError(f"exit code {code} stands twice; keep one of them")
        found[code] = units.seconds(delay)
    return found


def _json(text: str) -> object:
    try:
        return load(text.encode(errors="surrogateescape"))
    except InvalidJob as error:
        raise ValueError(error.why) from None


def show(codes: tuple[int, ...]) -> Any:
    """Exit codes as JSON has them."""
    return list(codes)


def show_delays(delays: Mapping[int, float]) -> Any:
    """Delays by exit code as JSON has them."""
    return {str(code): units.span(delay) for code, delay in sorted(delays.items())}
