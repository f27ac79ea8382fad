"""Pages of jobs: the names after a cursor, those that a filter lets through, and their records.

Promises
    A page costs about BUDGET at most, whatever is asked for: a filter that lets few through
    answers what it has found so far, and a cursor to look on from.
    A job that has moved on meanwhile is left out.
Leaves to others
    the order (index), the records (lookup).
Raises
    Wrong for a filter that cannot be understood; NoSuchJob.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from queuectl import disk, lookup, render, units, waiting
from queuectl.dashboard import answers
from queuectl.dashboard.counter import FEW, Counter
from queuectl.dashboard.index import is_reverse, line
from queuectl.errors import NoSuchJob, Wrong
from queuectl.filename import STAMP, decode, has_shape, is_id, stamp
from queuectl.layout import NESTED, STATES, Entry
from queuectl.spool import Spool

#: Seconds that a page may look for jobs which its filter lets through.
BUDGET = 0.12

#: Jobs of a page, and the most that may be asked for.
LIMIT, MOST = 50, 200

#: Bytes of a batch's list of ids that are read.
LARGEST_BATCH = 4 * 1024 * 1024


class Filter(NamedTuple):
    """Which jobs: of one state; whose id contains `part`; of a batch; whose name or command contains `text`; by their time."""

    state: str = "pending"
    part: str = ""
    batch: str = ""
    text: str = ""
    since: str = ""
    until: str = ""


class Page(NamedTuple):
    """Some jobs. `next`: the cursor for those after them, "" if these are the last. `is_whole`: not because time was up."""

    records: list[dict[str, Any]]
    next: str
    is_whole: bool


def read_filter(words: Mapping[str, str], now: float) -> Filter:
    """The filter that the words of a URL mean; times are ISO 8601, or how long ago such as "2h"."""
    state = words.get("state") or "pending"
    if state not in STATES:
        raise Wrong(f"state {state!r} is none; there are {', '.join(STATES)}")
    since, until = (_moment(words.get(key) or "", key, now) for key in ("since", "until"))
    return Filter(
        state,
        words.get("id") or "",
        words.get("batch") or "",
        words.get("text") or "",
        since,
        until,
    )


def _moment(text: str, key: str, now: float) -> str:
    if not text:
        return ""
    try:
        return stamp(max(0.0, now - units.seconds(text)))
    except ValueError:
        pass
    try:
        return stamp(units.instant(text))
    except ValueError:
        raise Wrong(
            f'{key} {text!r} is no time; write "2h" for two hours ago, or "2026-11-22T10:15:00Z"'
        ) from None


def page(
    spool: Spool, counter: Counter, wanted: Filter, after: str = "", limit: int = LIMIT
) -> Page:
    """The jobs after the cursor `after`: a name, or "+N" for what comes behind the first N drops."""
    ends, settings = time.monotonic() + BUDGET, spool.settings()
    why = waiting.Reasons(spool).of
    ids = _ids_of_batch(spool, wanted.batch)
    skipped = (answers.whole(after[1:]) or 0) if after[:1] == "+" else 0
    drops = _drops(spool, counter, wanted)[skipped:] if skipped or not after else []
    records = [lookup.record(spool, entry, settings, why) for entry in drops[:limit]]
    after = last = f"+{skipped + len(records)}" if drops else after
    if len(drops) > limit:
        return Page(records, last, is_whole=True)
    for text in _lines(spool, counter, wanted, "" if after[:1] == "+" else after):
        if len(records) >= limit:
            return Page(records, last, is_whole=True)
        if time.monotonic() > ends and last != after:
            return Page(records, last, is_whole=False)
        last = text
        entry = _entry(wanted.state, text)
        if (
            entry is None
            or (ids is not None and entry.name.id not in ids)
            or not disk.is_there(spool.at(entry.file))
        ):
            continue
        record = lookup.record(spool, entry, settings, why)
        if _passes(wanted, record):
            records.append(record)
    return Page(records, "", is_whole=True)


def _drops(spool: Spool, counter: Counter, wanted: Filter) -> list[Entry]:
    """Drops that nobody has admitted yet, unless there are so many names that looking for them takes long."""
    few = "pending" not in counter.indexes
    return list(lookup.drops(spool)) if few and wanted == Filter() else []


def _passes(wanted: Filter, record: dict[str, Any]) -> bool:
    if wanted.batch and record["batch"] != wanted.batch:
        return False
    if not wanted.text:
        return True
    command = render.command(record["command"]) if record["command"] is not None else ""
    return wanted.text.casefold() in f"{record['name'] or ''}\n{command}".casefold()


def _ids_of_batch(spool: Spool, batch: str) -> set[str] | None:
    """The ids of a batch; None where no list of them can say."""
    if not is_id(batch):
        return None
    data = disk.read_tail(spool.at("batches", batch), LARGEST_BATCH)
    return (
        set(data.decode(errors="replace").split()) if data and len(data) < LARGEST_BATCH else None
    )


def _lines(spool: Spool, counter: Counter, wanted: Filter, after: str) -> Iterator[str]:
    """The lines of names that may pass, in order: from the index of a large directory, or as a small one has them now."""
    reverse = is_reverse(wanted.state)
    if wanted.until and reverse and not after:
        after = f"00{wanted.until}~"
    index = counter.indexes.get(wanted.state)
    if index is not None:
        found = index.lines(after, wanted.part)
    else:
        now = stamp(spool.now())
        every = (
            line(wanted.state, text, now)
            for text in _names(spool, wanted.state)
            if has_shape(text.partition("/")[0])
        )
        found = iter(
            sorted(
                (t for t in every if not after or (t < after if reverse else t > after)),
                reverse=reverse,
            )
        )
    for text in found:
        when = text[2 : 2 + STAMP]
        if wanted.since and when < wanted.since:
            if reverse:
                return
        elif wanted.part in text and not (wanted.until and when > wanted.until):
            yield text


def _names(spool: Spool, state: str) -> Iterator[str]:
    """The names in a directory; not all of one that has grown since the counter looked."""
    directories = (
        [f"{state}/{inner}" for inner in spool.directories(state)] if state in NESTED else [state]
    )
    count = 0
    for directory in directories:
        end = directory[len(state) :]
        for text in spool.names(directory):
            count += 1
            if count > 2 * FEW:
                return  # the counter makes an index by now
            yield text + end


def _entry(state: str, text: str) -> Entry | None:
    text, _, inner = text[2:].partition("/")
    name = decode(text)
    if name is None:
        return None
    return Entry(
        state,
        name,
        f"{state}/{inner}/{text}" if inner else f"{state}/{text}",
        inner if state == "processing" else None,
    )


# -- one job


def at_place(spool: Spool, file: str, id: str) -> Entry | None:
    """The job in the file at this path from the spool, if it is the job `id` and is there."""
    parts, name = file.split("/"), decode(os.path.basename(file))
    if (
        name is None
        or "\0" in file
        or name.id != id
        or parts[0] not in STATES
        or ".." in parts
        or len(parts) != 2 + (parts[0] in NESTED)
    ):
        return None
    entry = Entry(parts[0], name, file, parts[1] if parts[0] == "processing" else None)
    return entry if disk.is_there(spool.at(file)) else None


def find(spool: Spool, counter: Counter, id: str, hint: str = "") -> Entry:
    """The job `id`, by its whole id; `hint`: the file that it was in when somebody saw it."""
    found = (
        (at_place(spool, hint, id) or _at_last_record(spool, id) or _search(spool, counter, id))
        if is_id(id)
        else None
    )
    if not found and "pending" not in counter.indexes:
        found = next((entry for entry in lookup.drops(spool) if entry.name.id == id), None)
    if not found:
        raise NoSuchJob(id, spool.path)
    return found


def _at_last_record(spool: Spool, id: str) -> Entry | None:
    entry = lookup.at_last_record(spool, id)
    return at_place(spool, entry.file, id) if entry else None


def _search(spool: Spool, counter: Counter, id: str) -> Entry | None:
    """The job, wherever its name is: it may move while we look, so look twice where the names of now are read."""
    for state in (
        *lookup.SHOWN,
        *(state for state in lookup.SHOWN if state not in counter.indexes),
    ):
        for text in _lines(spool, counter, Filter(state, f"-{id}.json"), ""):
            entry = _entry(state, text)
            if entry and entry.name.id == id and disk.is_there(spool.at(entry.file)):
                return entry
    return None
