"""The environment of a job: which of the variables of its enqueuer come along. Pure.

Leaves to others
    what is said about a variable that stays behind (fields).
Raises
    Wrong for a word of --export that means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from queuectl import render
from queuectl.errors import Wrong

#: Variables that come along with a job unless --export says otherwise.
EXPORTED = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV")
EXPORTED_FAMILIES = ("LC_", "CONDA_")

#: Variables that tell who somebody is: those of root are of no use to another user.
PERSONAL = ("HOME", "USER", "LOGNAME", "MAIL", "SHELL", "XDG_RUNTIME_DIR")


class Export(NamedTuple):
    """The variables for a job, and the names of those left out because JSON cannot hold them."""

    variables: dict[str, str]
    left_out: list[str]


def choose(wanted: str | None, environ: Mapping[str, str], *, is_foreign: bool) -> Export:
    """What --export `wanted`; None: nothing was said. `is_foreign`: the job is root's, for another user."""
    names, given, keyword = _read(wanted, environ)
    ours = {name: value for name, value in environ.items() if not name.startswith("QUEUECTL_")}
    if is_foreign:
        ours = {name: value for name, value in ours.items() if name not in PERSONAL}
    if wanted is None:
        ours = {name: value for name, value in ours.items() if _is_usual(name)}
    elif keyword != "ALL":
        ours = {}
    chosen = {name: value for name, value in ours.items() if render.is_text(name + value)}
    left_out = [name for name in ours if name not in chosen and name not in given]
    return Export({**chosen, **{name: environ[name] for name in names}, **given}, left_out)


def _is_usual(name: str) -> bool:
    return name in EXPORTED or name.startswith(EXPORTED_FAMILIES)


def _read(
    wanted: str | None, environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str], str | None]:
    """The names in --export, the variables that it sets, and ALL or NONE."""
    names, given, keywords = [], {}, set()
    for word in _words(wanted):
        name, equals, value = word.partition("=")
        if equals:
            given[name] = value
        elif name.upper() in ("ALL", "NONE"):
            keywords.add(name.upper())
        else:
            names.append(name)
    if len(keywords) > 1:
        raise Wrong("--export: ALL and NONE exclude each other; give one of them")
    for name in names:
        _check(name, environ)
    if "" in given:
        raise Wrong("--export: a variable has no name; write NAME=VALUE")
    return names, given, next(iter(keywords), None)


def _words(wanted: str | None) -> Iterator[str]:
    words = [word.strip() for word in (wanted or "").split(",")]
    if wanted is not None and not any(words):
        raise Wrong("--export: names nothing; write ALL, NONE or the names of variables")
    return (word for word in words if word)


def _check(name: str, environ: Mapping[str, str]) -> None:
    if name not in environ:
        raise Wrong(
            f"--export: {name!r} is not set here; write ALL, NONE, variables that are set, "
            "or NAME=VALUE (--env, if the value contains a comma)"
        )
    if not render.is_text(name + environ[name]):
        raise Wrong(
            f"--export: the value of {name} is not UTF-8 text, and a job can hold nothing else"
        )
