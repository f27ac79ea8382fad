"""Paths: what a person writes becomes a path that means the same to every process.

Promises
    No path that is made here is relative, and no "~" is left that a shell would replace.
    A path below the current directory begins as the shell shows it ($PWD), so that a symbolic
    link such as app/current stays in it.
Leaves to others
    what is at a path (disk).
Raises
    ValueError with a reason and a cure for people; TypeError for what is no path.
"""

from __future__ import annotations

import os
from typing import Any


def absolute(path: str | bytes | os.PathLike[Any]) -> str:
    """`path` as an absolute path, with the home directory for "~"."""
    text = _expanded(os.fsdecode(path))
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ValueError("the path has a character that no path can have; name another") from None
    flat = os.path.normpath(text if text.startswith("/") else f"{here()}/{text}")
    # A ".." behind a symbolic link leads elsewhere than the text says: ask the kernel.
    if text.startswith("/") or ".." not in text.split("/") or _is_same(flat, text):
        return flat
    return os.path.abspath(text)


def here() -> str:
    """The current directory as the shell shows it, where that is right; else its physical path."""
    try:
        physical = os.getcwd()
    except FileNotFoundError:
        raise ValueError("the directory that you are in is gone; go to another") from None
    shown = os.environ.get("PWD", "")
    if shown == physical or not shown.startswith("/") or os.path.normpath(shown) != shown:
        return physical
    return shown if _is_same(shown, physical) else physical


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _expanded(text: str) -> str:
    if not text:
        raise ValueError("the path is empty; name a directory")
    if "\0" in text:
        raise ValueError("the path contains a NUL character; name a directory")
    if not text.startswith("~"):
        return text
    user, home = text[1:].partition("/")[0], os.environ.get("HOME")
    if not user and home is not None and not home.startswith("/"):
        raise ValueError(f"HOME is {home!r}, which is no absolute path; set HOME")
    whole = os.path.expanduser(text)
    if whole.startswith("/"):
        return whole
    if user:
        raise ValueError(
            f"this machine has no user {user!r}; write ./{text} if it is a directory's name"
        )
    raise ValueError(f"HOME is not set, and user {os.getuid()} has no home directory; set HOME")
