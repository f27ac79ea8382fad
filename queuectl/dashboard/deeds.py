"""What can be done in the dashboard: the verbs of `actions`, by name, for one job or for many.

Promises
    Without --allow-actions nothing is done.
    A refusal of one job does not keep the others from being done.
Leaves to others
    the deeds themselves (actions), where they come from (door).
Raises
    ReadOnly; Wrong; what the action raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from queuectl import actions, lookup, stopping
from queuectl.dashboard import listing
from queuectl.dashboard.desk import Desk
from queuectl.errors import QueuectlError, Wrong
from queuectl.layout import STATES, WAITING, Entry
from queuectl.spool import Spool

#: Jobs that one request acts on.
MOST = 1000


class ReadOnly(QueuectlError):
    """The dashboard was started without --allow-actions."""


class Act(NamedTuple):
    """A verb: what its button says, the states in which it makes sense, whether it is asked back even for one job, and how it is done."""

    label: str
    states: tuple[str, ...]
    asks: bool
    do: Callable[[Spool, Entry, int], bool]


def _run_now(spool: Spool, entry: Entry, _: int) -> bool:
    return (
        actions.retry(spool, entry)
        if entry.state == "failed"
        else actions.change(spool, entry, due=spool.now())
    )


#: Every verb, in the order of its buttons.
ACTS = {
    "retry": Act(
        "Retry",
        ("failed", "dead"),
        asks=False,
        do=lambda spool, entry, _: actions.retry(spool, entry),
    ),
    "run": Act("Run now", ("pending", "failed"), asks=False, do=_run_now),
    "hold": Act(
        "Hold",
        ("pending", "blocked", "failed"),
        asks=False,
        do=lambda spool, entry, _: actions.hold(spool, entry),
    ),
    "release": Act(
        "Release", ("held",), asks=False, do=lambda spool, entry, _: actions.release(spool, entry)
    ),
    "priority": Act(
        "Set priority",
        WAITING,
        asks=False,
        do=lambda spool, entry, value: actions.change(spool, entry, priority=value),
    ),
    "cancel": Act(
        "Cancel",
        (*WAITING, "processing"),
        asks=True,
        do=lambda spool, entry, _: bool(actions.cancel(spool, entry.name.id, entry)),
    ),
    "remove": Act(
        "Remove",
        tuple(state for state in STATES if state != "processing"),
        asks=True,
        do=lambda spool, entry, _: actions.remove(spool, entry) is not None,
    ),
}


def acts_for(desk: Desk, state: str) -> dict[str, Act]:
    """The verbs that make sense in a state; none if nothing may be done."""
    return (
        {verb: act for verb, act in ACTS.items() if state in act.states}
        if desk.options.allow_actions
        else {}
    )


def allow(desk: Desk) -> None:
    """Refuse, unless the dashboard may act."""
    if not desk.options.allow_actions:
        raise ReadOnly("this dashboard only shows; start it with --allow-actions to act")


def priority(text: object) -> int:
    """The priority that a form or a JSON value means."""
    try:
        value = -1 if isinstance(text, bool) else int(str(text))
    except ValueError:
        value = -1
    if not 0 <= value <= 9:
        raise Wrong(f"priority must be a whole number from 0 to 9, not {text!r}")
    return value


def do(desk: Desk, verb: str, id: str, hint: str = "", value: int = 0) -> None:
    """Do one thing to one job."""
    allow(desk)
    if verb not in ACTS:
        raise Wrong(f"no action {verb!r}; there are {', '.join(ACTS)}")
    spool, act = desk.spool, ACTS[verb]
    entry = listing.find(spool, desk.counter, id, hint)
    lookup.pursue(spool, entry, lambda entry: act.do(spool, entry, value))
    desk.counter.hurry()


def do_all(
    desk: Desk, verb: str, jobs: Iterable[tuple[str, str]], value: int = 0
) -> tuple[list[str], dict[str, str]]:
    """Do one thing to many jobs, named by id and place: those it was done to, and why not to the others."""
    done, refused = [], {}
    for id, hint in jobs:
        try:
            do(desk, verb, id, hint, value)
            done.append(id)
        except ReadOnly:
            raise
        except (QueuectlError, OSError) as error:
            refused[id] = str(error)
    return done, refused


def enqueue(desk: Desk, record: dict[str, Any]) -> str:
    """Put a job, given as its JSON object, into the queue; its id, once it is on disk."""
    allow(desk)
    id = desk.spool.enqueue(record)
    desk.counter.hurry()
    return id


def stop_worker(desk: Desk, name: str) -> list[str]:
    """Tell the supervisor of a worker to stop when its jobs have ended: those that still run."""
    allow(desk)
    _, left = stopping.stop(desk.spool, 0.0, now=False, chosen=stopping.Chosen(names=(name,)))
    return left


def pause(desk: Desk, *, on: bool) -> bool:
    """Pause or resume the spool. False: it was so already."""
    allow(desk)
    return actions.pause(desk.spool) if on else actions.resume(desk.spool)
