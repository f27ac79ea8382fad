"""What Tab offers for the words that name something in the spool. It reads names only, and not too many of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from queuectl.errors import QueuectlError
from queuectl.spool import Spool

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: The most that Tab offers, and the most names that are looked at in each directory.
OFFERED, LOOKED_AT = 200, 50_000

Found = Iterable[tuple[str, str | None]]


def _offer(
    find: Callable[[Spool, str], Found],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]:
    """A completion that offers what `find` yields for the beginning of a word; nothing if the spool cannot be read."""

    def complete(
        ctx: click.Context, _: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        try:
            found = find(Spool(str(ctx.find_root().params["path"])).open(), incomplete)
            return [CompletionItem(word, help=help) for word, help in islice(found, OFFERED)]
        except (QueuectlError, OSError):
            return []

    return complete


def _ids(spool: Spool, begin: str) -> Iterator[tuple[str, str]]:
    from queuectl.lookup import SHOWN

    if "last".startswith(begin) and begin:
        yield "last", "the job that was enqueued last"
    for state in SHOWN:
        for entry in islice(spool.entries(state, f"-{begin}"), LOOKED_AT):
            if entry.name.id.startswith(begin):
                yield entry.name.id, state


def _batches(spool: Spool, begin: str) -> Found:
    from queuectl import batches

    return ((name, None) for name in batches.names(spool) if name.startswith(begin))


def _schedules(spool: Spool, begin: str) -> Found:
    from queuectl import timetable

    return ((kept.name, None) for kept in timetable.files(spool) if kept.name.startswith(begin))


def _workers(spool: Spool, begin: str) -> Found:
    from queuectl import liveness

    return ((name, None) for name in liveness.names(spool) if name.startswith(begin))


def settings(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The names of settings, with hyphens if some were typed."""
    from click.shell_completion import CompletionItem

    from queuectl import config

    names = [name.replace("_", "-") if "-" in incomplete else name for name in config.SETTINGS]
    return [
        CompletionItem(name, help=config.kind(name.replace("-", "_")).help)
        for name in names
        if name.startswith(incomplete)
    ]


ids, batches, schedules, workers = (
    _offer(_ids),
    _offer(_batches),
    _offer(_schedules),
    _offer(_workers),
)
