"""Answers: pages and JSON that any text can be in, and whole numbers from URLs.

A file name may be no UTF-8, and a record of another program may hold NaN.

Promises
    Every text is shown, what is no UTF-8 as an escape, as the command line prints it.
Leaves to others
    what the answers say (pages, api).
Raises
    nothing.
"""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse

#: Digits of the largest number that a URL may hold; a file has fewer bytes.
DIGITS = 18


class Page(HTMLResponse):
    """A page of HTML."""

    def render(self, content: str) -> bytes:
        """The page as bytes."""
        return content.encode(errors="backslashreplace")


class Json(JSONResponse):
    """A JSON value."""

    def render(self, content: Any) -> bytes:
        """The value as bytes: ASCII where UTF-8 cannot hold it; null for what is no number."""
        try:
            return super().render(content)
        except ValueError:  # also UnicodeEncodeError
            return json.dumps(_finite(content), separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def whole(text: str) -> int | None:
    """The whole number that `text` says in ASCII digits; None if it says none, or one too large."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS else None
