"""This build: the version of queuectl, and what tells it from other builds of that version.

    0.1.0+1a2b3c4d       installed from a package: a sum over the package's list of its files
    0.1.0+git.9e56ecc    a checkout: the commit, whatever has been changed since
    0.1.0                neither can be told

Raises
    nothing.
"""

from __future__ import annotations

import functools
import os
import zlib

from queuectl import __version__


@functools.cache
def build() -> str:
    """The version and the build of the program that runs, to be compared with that of another host."""
    above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    more = _package(above) or _commit(above)
    return f"{__version__}+{more}" if more else __version__


def _package(above: str) -> str:
    """A sum over the digests that the package has for our files."""
    lines = _lines(above, f"queuectl-{__version__}.dist-info", "RECORD")
    ours = sorted(line for line in lines if line.startswith("queuectl/") and ",sha256=" in line)
    return f"{zlib.crc32(os.linesep.join(ours).encode()):08x}" if ours else ""


def _commit(above: str) -> str:
    """The first characters of the commit that is checked out."""
    head = "".join(_lines(above, ".git", "HEAD")).strip()
    name = head.removeprefix("ref: ")
    if name == head:
        return f"git.{head[:7]}" if head else ""
    packed = (line.split() for line in _lines(above, ".git", "packed-refs") if name in line)
    loose = "".join(_lines(above, ".git", name)).strip()
    commit = loose or next((words[0] for words in packed if words[1:] == [name]), "")
    return f"git.{commit[:7]}" if commit else ""


def _lines(*parts: str) -> list[str]:
    try:
        with open(os.path.join(*parts), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
