"""The timetable: the schedules of a spool, each a file in schedules/.

    <name>.json      a schedule that ticks; written once
    <name>.paused    the same file, while it is paused: a rename there and back
    <name>.last      the last tick that was dealt with, and the turn if the clock was set back; it can be gone, then all
                     since the schedule was made count

Promises
    One name, one schedule, however many add it at once.
    A schedule that was added, paused, resumed or removed is so after a power cut, once the function has returned.
    What a file says is believed only if it belongs to us, to the spool's owner or to root.
Leaves to others
    when a schedule ticks (schedule), doing it (ticker).
Raises
    InvalidSchedule, NoSuchSchedule, ScheduleTaken, ScheduleDamaged; OSError from the disk.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from queuectl import disk, host, units
from queuectl import schedule as rules
from queuectl.errors import InvalidSchedule, NoSuchSchedule, ScheduleDamaged, ScheduleTaken
from queuectl.job import from_dict
from queuectl.layout import SKEW
from queuectl.schedule import Schedule
from queuectl.spool import Spool
from queuectl.strict import kind

T = TypeVar("T")

#: The directory; it is made with the first schedule.
PLACE = "schedules"

#: How the files of active and of paused schedules end, and that which remembers.
ACTIVE, PAUSED, LAST = ".json", ".paused", ".last"

#: Seconds by which a last tick may be ahead of the clock: that long a schedule waits until a clock that was set back has
#: passed it again. What is further ahead is not waited for.
AHEAD = 600

#: Bytes of the largest file that remembers a tick.
LARGEST_LAST = 100


class Kept(NamedTuple):
    """A file that holds a schedule. `end` is ACTIVE or PAUSED."""

    name: str
    end: str

    @property
    def file(self) -> str:
        """Its path from the spool."""
        return f"{PLACE}/{self.name}{self.end}"


def files(spool: Spool) -> Iterator[Kept]:
    """The files that hold schedules, as they come. Reads names only."""
    for text in disk.scan(spool.at(PLACE)):
        name, end = os.path.splitext(text)
        if end in (ACTIVE, PAUSED) and not name.startswith("."):
            yield Kept(name, end)


def remembered(spool: Spool) -> Iterator[str]:
    """The names for which a last tick is remembered."""
    for text in disk.scan(spool.at(PLACE)):
        name, end = os.path.splitext(text)
        if end == LAST and not name.startswith("."):
            yield name


def read(spool: Spool, kept: Kept) -> Schedule:
    """What the file of a schedule says; FileNotFoundError: it is gone."""
    path = spool.at(kept.file)
    try:
        rules.check_name(kept.name)
        content = disk.read(path, spool.settings().max_job_size)
        found = rules.parse(content.data)
    except disk.NotPlain as error:
        raise ScheduleDamaged(path, error.strerror or "is no plain file") from None
    except InvalidSchedule as error:
        raise ScheduleDamaged(path, str(error)) from None
    if not spool.trusts(content.status.st_uid):
        raise ScheduleDamaged(
            path,
            f"belongs to user {content.status.st_uid}, who is neither us nor the owner of the spool",
        )
    if found.created_at is None:
        written = disk.modified(path) or spool.now()
        found = found._replace(created_at=int(units.clamped(written)))
    return found


def find(spool: Spool, name: str) -> Kept:
    """The file of the schedule `name`."""
    for end in (ACTIVE, PAUSED):
        kept = Kept(name, end)
        if rules.is_name(name) and disk.is_there(spool.at(kept.file)):
            return kept
    raise NoSuchSchedule(str(name), spool.path)


# -- what people do to schedules


def add(spool: Spool, name: str, schedule: Schedule | Mapping[str, Any]) -> Schedule:
    """Add a schedule, or its JSON object, and answer it; it ticks from now on.

    A `cron` without `zone` is in the zone of this machine.
    """
    rules.check_name(name)
    found = _checked(spool.make(), name, schedule)
    spool.need(PLACE)
    disk.sync(spool.path)
    if any(disk.is_there(spool.at(Kept(name, end).file)) for end in (ACTIVE, PAUSED)):
        raise ScheduleTaken(name)
    forget(spool, name)
    temporary = spool.temporary()
    disk.write(temporary, found.to_bytes())
    try:
        # A link, not a rename: of two who add one name, one is told that it is taken.
        if not disk.link(temporary, spool.at(Kept(name, ACTIVE).file)):
            raise ScheduleTaken(name)
    finally:
        # CRASH: dying before this leaves a second name in tmp/, swept later.
        disk.unlink(temporary)
    disk.sync(spool.at(PLACE))
    spool.ring()
    return found


def _checked(spool: Spool, name: str, schedule: Schedule | Mapping[str, Any]) -> Schedule:
    """A schedule that begins now; one that a program made by itself is checked, too."""
    if isinstance(schedule, Schedule):
        try:
            record = schedule.to_dict()
        except Exception as error:  # a program can put anything there
            raise InvalidSchedule(f"a field cannot be written ({error})") from None
    elif isinstance(schedule, Mapping):
        record = dict(schedule)
    else:
        raise InvalidSchedule(f"a schedule is a JSON object, not {kind(schedule)}")
    if record.get("cron") is not None and record.get("zone") is None:
        record["zone"] = host.zone()
        if record["zone"] is None:
            raise InvalidSchedule(
                "zone: this machine's has no name that others know; name one with --zone, such as Europe/Berlin"
            )
    now = int(spool.now())
    found = rules.from_record({**record, "created_at": units.iso(now)})
    largest = max(
        len(found.to_bytes()),
        len(found.job_at(name, now)._replace(created_at=float(now)).to_bytes()),
    )
    most = spool.settings().max_job_size
    if largest > most:
        raise InvalidSchedule(
            f"has {largest} bytes and the limit is {most}; put its data into a file, or set max_job_size"
        )
    return found


def remove(spool: Spool, name: str) -> None:
    """Remove a schedule; the jobs that came of it stay."""
    find(spool, name)
    for end in (ACTIVE, PAUSED):
        disk.unlink(spool.at(Kept(name, end).file))
    # CRASH: dying here leaves a memory without a schedule: the next one of this name forgets it.
    forget(spool, name)
    disk.sync(spool.at(PLACE))


def pause(spool: Spool, name: str) -> bool:
    """Let a schedule tick no more until it is resumed. False: it was paused already."""
    if find(spool, name).end == PAUSED:
        return False
    return _turn(spool, name, ACTIVE, PAUSED)


def resume(spool: Spool, name: str) -> bool:
    """Let a schedule tick again, from now on: what came while it was paused is not made up. False: it was not paused."""
    if find(spool, name).end == ACTIVE:
        return False
    try:
        # CRASH: dying after this leaves it paused, as it was.
        remember(spool, name, int(spool.now()))
    except ScheduleDamaged:
        begin_anew(spool, name)
    is_resumed = _turn(spool, name, PAUSED, ACTIVE)
    spool.ring()
    return is_resumed


def _turn(spool: Spool, name: str, end: str, other: str) -> bool:
    if disk.is_there(spool.at(Kept(name, other).file)):
        # RACE: somebody has done it just now, or has put a second file there by hand.
        return False
    if not disk.rename(spool.at(Kept(name, end).file), spool.at(Kept(name, other).file)):
        raise NoSuchSchedule(name, spool.path)
    disk.sync(spool.at(PLACE))
    return True


def run(spool: Spool, name: str) -> str:
    """Put a job of this schedule into the queue now, with an id of ours; that id."""
    return spool.enqueue(look_at(spool, name, read).any_job(name))


def look_at(spool: Spool, name: str, look: Callable[[Spool, Kept], T]) -> T:
    """What `look` answers about the schedule `name`; asked again if it was paused or resumed meanwhile."""
    while True:
        try:
            return look(spool, find(spool, name))
        except FileNotFoundError:
            pass  # RACE: its file has another name now, or is gone: `find` knows


# -- what was ticked


class Memory(NamedTuple):
    """Until which time all ticks of a schedule have been dealt with, and the turn of the next ones (see tick_id)."""

    tick: int
    turn: int = 1


def memory(spool: Spool, name: str) -> Memory | None:
    """What is remembered of the ticks of a schedule."""
    path = spool.at(PLACE, name + LAST)
    try:
        text, _, turn = (
            disk.read(path, LARGEST_LAST).data.decode(errors="replace").strip().partition(" ")
        )
        return Memory(int(units.instant(text)), int(turn or 1))
    except FileNotFoundError:
        return None
    except disk.NotPlain as error:
        raise ScheduleDamaged(path, error.strerror or "is no plain file") from None
    except ValueError as error:
        cure = "'queuectl doctor --fix' lets the schedule begin anew"
        raise ScheduleDamaged(path, f"{error}; {cure}") from None


def last(spool: Spool, name: str) -> int | None:
    """The time until which all ticks of a schedule have been dealt with, as far as somebody remembers."""
    known = memory(spool, name)
    return None if known is None else known.tick


def since(spool: Spool, name: str, schedule: Schedule) -> int:
    """The time until which no tick of this schedule is left to deal with.

    A schedule that was made in the future had a clock that was ahead: then its ticks alone count.
    """
    made, tick = schedule.created_at or 0, last(spool, name)
    return tick if tick is not None and made > spool.now() + SKEW else max(made, tick or 0)


def following(spool: Spool, name: str, schedule: Schedule) -> Iterator[int]:
    """The ticks that are to come. A memory that is too far ahead will be given up."""
    known, now = since(spool, name, schedule), int(spool.now())
    after: int | None = now if known > now + AHEAD else known
    while after is not None and (after := rules.following(schedule.made_by(after), after)):
        yield after


def remember(spool: Spool, name: str, tick: int, *, anyway: bool = False) -> None:
    """Take note that all ticks until this one have been dealt with; unless somebody is ahead of us, or it must be `anyway`."""
    known = memory(spool, name)
    # RACE: of two that do this at once the earlier tick may win: the other one's job has its id, so it comes but once.
    if anyway or known is None or known.tick < tick:
        _write(spool, name, Memory(tick, known.turn if known else 1))


def begin_anew(spool: Spool, name: str) -> None:
    """Take all ticks until now for dealt with, whatever is remembered.

    What is remembered of later ones is of another turn: theirs are new jobs when the clock comes to them again.
    """
    now = int(spool.now())
    try:
        known = memory(spool, name) or Memory(now)
    except ScheduleDamaged:
        known = Memory(now)
    # CRASH: dying before or after this, the next look does the same, or goes on.
    _write(spool, name, Memory(now, known.turn + (known.tick > now)))


def _write(spool: Spool, name: str, known: Memory) -> None:
    temporary = spool.temporary()
    turn = f" {known.turn}" if known.turn > 1 else ""
    disk.write(temporary, f"{units.iso(known.tick)}{turn}\n".encode())
    # CRASH: dying before this leaves a tick whose id is taken, and a file in tmp/.
    disk.replace(temporary, spool.at(PLACE, name + LAST))


def forget(spool: Spool, name: str) -> None:
    """Remove what is remembered of a schedule that is gone."""
    disk.unlink(spool.at(PLACE, name + LAST))


# -- showing them


def records(spool: Spool) -> list[dict[str, Any]]:
    """All schedules as `schedule list --json` shows them, by name."""
    found = []
    for kept in sorted(files(spool)):
        try:
            found.append(record(spool, kept))
        except FileNotFoundError:
            pass  # RACE: it was removed or paused meanwhile
    return found


def record(spool: Spool, kept: Kept) -> dict[str, Any]:
    """One schedule as `schedule list --json` shows it; one that is damaged says why."""
    empty = dict.fromkeys(
        ("cron", "every", "zone", "catch_up", "command", "next_at", "last_at", "created_at")
    )
    shown: dict[str, Any] = {
        "name": kept.name,
        "state": "paused" if kept.end == PAUSED else "active",
        "file": kept.file,
    }
    try:
        found = read(spool, kept)
        shown |= {**empty, **found.to_dict(), "reason": None}
        shown["command"] = found.job["command"]
        shown["last_at"] = units.iso(tick) if (tick := last(spool, kept.name)) is not None else None
        if kept.end == ACTIVE:
            tick = next(following(spool, kept.name, found), None)
            shown["next_at"] = None if tick is None else units.iso(tick)
    except ScheduleDamaged as error:
        shown = {**empty, **shown, "state": "damaged", "reason": str(error)}
    shown.pop("job", None)
    return {key: shown[key] for key in ("name", "state", *empty, "file", "reason")}


def full_record(spool: Spool, kept: Kept, count: int) -> dict[str, Any]:
    """The same with the next `count` ticks and the job, but for the values of its variables: they may be secrets."""
    shown = record(spool, kept)
    if shown["state"] == "damaged":
        return shown
    found = read(spool, kept)
    job = from_dict(dict(found.job)).to_dict()
    if "env" in job:
        job["env"] = dict.fromkeys(job["env"])
    ticks = itertools.islice(following(spool, kept.name, found), count)
    return {**shown, "next": [units.iso(tick) for tick in ticks], "job": job}
