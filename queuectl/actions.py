"""What people do to jobs: hold, change, cancel, remove, retry, prune, wait, pause.

Promises
    Each is one move per job and loses a race quietly: a job that a worker took first
    is then treated as the running job that it is.
    A refusal changes nothing.
Leaves to others
    finding the jobs (lookup), the moves (spool), ending a command (worker).
Raises
    WrongState; NoSuchJob from the search.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from queuectl import (
    batches,
    blocked,
    cancellation,
    disk,
    events,
    hooks,
    host,
    lookup,
    recovery,
    results,
    unique,
    units,
)
from queuectl.config import Settings
from queuectl.errors import WrongState
from queuectl.filename import decode, encode, has_shape, id_of, stamp
from queuectl.job import Job
from queuectl.layout import ENDED, PAUSED, WAITING, Entry
from queuectl.spool import Claim, Spool

#: Seconds between two looks of somebody who waits, at first and at most.
PAUSE, LONGEST_PAUSE = 0.02, 0.25

#: Seconds for which the record of a job that has just ended may be on its way.
RECORD_PATIENCE = 1.0

#: What `wait` answers for an end that has no exit code of its own; as timeout(1) and the shell say it.
TIMED_OUT, CANCELLED, FAILED = 124, 130, 1


def revive(spool: Spool, entry: Entry) -> Entry | None:
    """Bring a dead job back: pending now, its attempts start again, its history stays. None: it was gone."""
    must_be_dead(entry)
    return _bring_back(spool, entry)


def must_be_dead(entry: Entry) -> None:
    """Refuse a job that is not among the dead letters."""
    if entry.state != "dead":
        raise WrongState(
            f"job {entry.name.id} is {entry.state}, not dead; 'queuectl dlq list' shows the dead ones"
        )


def _bring_back(spool: Spool, entry: Entry) -> Entry | None:
    """Let a job that has ended begin anew."""
    job = lookup.read(spool, entry.file)
    if job and job.unique:
        unique.hold(spool, job.unique, entry.name.id)
    return spool.move(entry, "pending", entry.name._replace(time=spool.now(), attempts=0))


def hold(spool: Spool, entry: Entry) -> bool:
    """Let a waiting job wait until it is released. False: it is not where it was any more."""
    _must_wait(spool, entry, "be held")
    if entry.state == "held":
        return True
    moved = spool.move(entry, "held", entry.name)
    if moved:
        _leave_its_token(spool, lookup.read(spool, moved.file))
    return moved is not None


def release(spool: Spool, entry: Entry) -> bool:
    """Let a held job run when it is due. False: it is not held any more."""
    if entry.state != "held":
        raise WrongState(f"job {entry.name.id} is {entry.state}, not held")
    return spool.move(entry, "pending", entry.name) is not None


def change(
    spool: Spool, entry: Entry, *, priority: int | None = None, due: float | None = None
) -> bool:
    """Give a waiting job another priority, or another time from which on it may run. False: it is not where it was any more."""
    _must_wait(spool, entry, "be changed")
    name = entry.name._replace(
        priority=entry.name.priority if priority is None else priority,
        time=entry.name.time if due is None else due,
    )
    # Into pending/ if it fell due earlier: there a bell rings. A blocked job stays where it waits.
    state = "pending" if entry.state == "failed" and due is not None else entry.state
    moved = spool.move(entry, state, name)
    if moved and due is not None:
        _leave_its_token(spool, lookup.read(spool, moved.file))
    return moved is not None


def _must_wait(spool: Spool, entry: Entry, what: str) -> None:
    if entry.state not in WAITING:
        raise WrongState(
            f"job {entry.name.id} is {'running' if entry.state == 'processing' else entry.state}; only one that waits can {what}"
        )
    if decode(os.path.basename(entry.file)) is None:
        raise WrongState(
            f"{entry.file} has not been admitted by a worker yet; change or remove the file {spool.at(entry.file)}"
        )


def retry(spool: Spool, entry: Entry, *, again: bool = False) -> bool:
    """Let a failed job run now instead of at its time; bring a dead one back, and with `again` one that was completed.

    False: it is not where it was any more.
    """
    id, state = entry.name.id, entry.state
    if state == "dead" or (again and state == "completed"):
        return _bring_back(spool, entry) is not None
    if state == "completed":
        raise WrongState(
            f"job {id} is completed; 'queuectl retry {id} --state completed' runs it again"
        )
    if state != "failed":
        raise WrongState(f"job {id} is {state}; only a failed or a dead one is retried")
    return spool.move(entry, "pending", entry.name._replace(time=spool.now())) is not None


class Removed(NamedTuple):
    """A job was removed. `waited`: how many jobs in blocked/ waited for it, and can never run now."""

    waited: int = 0


def remove(spool: Spool, entry: Entry) -> Removed | None:
    """Remove a job that is not running, with its logs and history. None: it was gone."""
    if entry.state == "processing":
        raise WrongState(f"job {entry.name.id} is running; 'queuectl cancel {entry.name.id}' first")
    if decode(os.path.basename(entry.file)) is None:
        return Removed() if disk.unlink(spool.at(entry.file)) else None
    job = lookup.read(spool, entry.file)
    if not spool.remove(entry):
        return None
    hooks.note_batch(spool, os.path.basename(entry.file), job.batch if job else None)
    return Removed(_let_others_go_on(spool, entry, job))


def _let_others_go_on(spool: Spool, entry: Entry, job: Job | None) -> int:
    """A job has ended without a worker: wake the jobs that waited for its end, or its key; how many."""
    if job and job.unique:
        unique.let_go(spool, job.unique, entry.name.id)
    woken = blocked.ended(spool, entry.name.id)
    _leave_its_token(spool, job)
    return woken


def _leave_its_token(spool: Spool, job: Job | None) -> None:
    """A job that waited may have been woken for a token that it does not take now: others may have it."""
    if job and job.limit:
        blocked.offer(spool, job.limit)


def cancel(spool: Spool, id: str, entry: Entry | None = None) -> Literal["cancelled", "asked"]:
    """Cancel a job that waits, or ask for the end of one that runs. `entry`: where it was seen just now."""
    while True:
        entry = entry or lookup.find(spool, id)
        if entry.state in ENDED:
            raise WrongState(
                f"job {entry.name.id} is {entry.state} already; there is nothing to cancel"
            )
        if entry.state == "processing":
            if cancellation.request(spool, entry):
                return "asked"
        elif decode(os.path.basename(entry.file)) is None:
            raise WrongState(
                f"{entry.file} has not been admitted by a worker yet; remove it with 'rm {spool.at(entry.file)}'"
            )
        elif _cancel_waiting(spool, entry):
            return "cancelled"
        entry = None  # RACE: it moved between the look and the deed; look again.


def _cancel_waiting(spool: Spool, entry: Entry) -> bool:
    now = spool.now()
    name = entry.name._replace(time=now)
    hooks.note_file(spool, f"dead/{encode(name)}", entry.file)
    moved = spool.move(entry, "dead", name)
    if moved is None:
        return False
    # CRASH: dying here leaves a dead job without a reason; it is shown as such.
    run = recovery.blank(Claim(entry.file, entry.name, ""), moved.file)
    ended = {
        "started_at": None,
        "finished_at": units.iso(now),
        "outcome": "cancelled",
        "reason": "cancelled before it ran",
    }
    results.append(spool.at("results"), entry.name.id, run | ended | {"host": host.place().host})
    _let_others_go_on(spool, entry, lookup.read(spool, moved.file))
    return True


def prune(spool: Spool, settings: Settings, now: float) -> dict[str, int]:
    """Remove completed and dead jobs, rejected drops and logs of workers that are past the retention settings: how many of each.

    A job that ended stays while a job that has not ended names it in `after` and the like.
    """
    pruned = {
        **_prune_ended(spool, _over(spool, settings, now)),
        "rejected": spool.prune_rejected(max(0.0, now - settings.keep_dead)),
        "logs": _prune_logs(spool, now - settings.keep_dead),
        "events": events.prune(spool.at("events"), now - settings.keep_events),
    }
    batches.prune(spool, now - batches.YOUNG)
    return pruned


def _over(spool: Spool, settings: Settings, now: float) -> dict[str, list[str]]:
    """The names of ended jobs that are past the retention settings, by state."""
    completed = sorted((text for text in spool.names("completed") if has_shape(text)), reverse=True)
    over, kept = (
        completed[settings.keep_completed_count :],
        completed[: settings.keep_completed_count],
    )
    old = [text for text in kept if text < _stamp(now - settings.keep_completed)]
    dead = [
        text
        for text in spool.names("dead")
        if has_shape(text) and text < _stamp(now - settings.keep_dead)
    ]
    return {"completed": over + old, "dead": dead}


def _prune_ended(spool: Spool, names: dict[str, list[str]]) -> dict[str, int]:
    """Remove the jobs of these names, but for those that others wait for: how many of each state."""
    ids = {id_of(text) for texts in names.values() for text in texts}
    if not ids:
        return dict.fromkeys(names, 0)
    with spool.dooming(ids):
        awaited = blocked.awaited(spool, ids)
        return {
            state: sum(_prune(spool, state, text) for text in texts if id_of(text) not in awaited)
            for state, texts in names.items()
        }


def _stamp(time: float) -> str:
    return stamp(max(0.0, time))


def _prune(spool: Spool, state: str, text: str) -> bool:
    name = decode(text)
    return name is not None and spool.remove(Entry(state, name, f"{state}/{text}"))


def _prune_logs(spool: Spool, before: float) -> int:
    """Remove the logs of background supervisors to which nobody has written since that time: how many files."""
    names = [
        name
        for name in disk.scan(spool.at("logs"))
        if re.fullmatch(r"workers-.*\.log(\.\d+)?", name)
    ]
    old = [name for name in names if (disk.modified(spool.at("logs", name)) or before) < before]
    return sum(disk.unlink(spool.at("logs", name)) for name in old)


# -- waiting


class Waited(NamedTuple):
    """A job that ended, and the exit code that says how."""

    id: str
    state: str
    code: int


def wait(
    spool: Spool,
    wanted: Iterable[str],
    timeout: float | None,
    ended: Callable[[Waited], None],
    between: Callable[[], None] = lambda: None,
) -> list[Waited] | None:
    """Wait until all these jobs are completed or dead; `ended` hears of each. None: the time was over first.

    `between` is called after each look that was not the last.
    """
    left = {entry.name.id: entry for entry in (lookup.find(spool, id) for id in wanted)}
    order, done = list(left), {}
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = PAUSE
    while True:
        for id in list(left):
            if waited := _ended(spool, id):
                done[id] = waited
                del left[id]
                ended(waited)
        if not left:
            return [done[id] for id in order]
        if deadline is not None and time.monotonic() >= deadline:
            return None
        between()
        time.sleep(pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic())))
        pause = min(LONGEST_PAUSE, pause * 1.2)


def _ended(spool: Spool, id: str) -> Waited | None:
    entry = lookup.find(spool, id)
    if entry.state not in ENDED:
        return None
    run = lookup.last_run(spool, entry)
    if run is None and abs(spool.now() - entry.name.time) < RECORD_PATIENCE:
        return None
    return Waited(id, entry.state, exit_code(entry.state, run))


def exit_code(state: str, run: lookup.Record | None) -> int:
    """The exit code that stands for how a job ended."""
    if state == "completed":
        return 0
    outcome = run.get("outcome") if run else None
    if run and outcome == "failed":
        if run.get("signal"):
            return 128 + int(run["signal"])
        return int(run.get("exit_code") or FAILED)
    return {"timeout": TIMED_OUT, "cancelled": CANCELLED}.get(str(outcome), FAILED)


# -- the whole spool


def pause(spool: Spool) -> bool:
    """Let no job begin from now on; those that run go on. False: it was paused already."""
    if spool.is_paused():
        return False
    temporary = spool.temporary()
    disk.write(
        temporary,
        f"by {host.user(os.geteuid())} on {host.place().host} at {units.iso(time.time())}\n".encode(),
    )
    disk.replace(temporary, spool.at(PAUSED))
    disk.sync(spool.path)
    return True


def resume(spool: Spool) -> bool:
    """Let jobs begin again. False: it was not paused."""
    if not disk.unlink(spool.at(PAUSED)):
        return False
    disk.sync(spool.path)
    spool.ring()
    return True
