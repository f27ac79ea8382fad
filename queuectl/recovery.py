"""Rescue: what a dead worker held goes on.

Any supervisor may rescue, there is no leader, and two at once do no harm: each file is
moved by one rename. Its commands are ended first, so that a job never runs beside its
own orphan. A run that left its record gets the move that the record names; one that
did not is lost, which counts as an attempt.

Promises
    A worker that is alive is left alone.
    A worker's record goes only after its directory is empty.
Leaves to others
    who is dead (liveness); what becomes of a lost run (retry).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from queuectl import (
    admission,
    blocked,
    cancellation,
    disk,
    hooks,
    inbox,
    limits,
    liveness,
    processes,
    results,
    units,
)
from queuectl.config import Settings
from queuectl.errors import InvalidJob
from queuectl.filename import decode
from queuectl.job import parse
from queuectl.outcome import CANCELLED
from queuectl.retry import Outcome, Verdict, decide
from queuectl.spool import Claim, Spool

#: Seconds that the commands of a dead worker have between TERM and KILL.
ORPHAN_GRACE = 2


class Rescued(NamedTuple):
    """A job that was found with a dead worker: its id, whose it was, where it went and why."""

    id: str
    worker: str
    target: str
    outcome: str


def rescue(
    spool: Spool,
    observer: liveness.Observer,
    *,
    spare: frozenset[str] = frozenset(),
    complain: Callable[[str], None] | None = None,
) -> list[Rescued]:
    """Look for dead workers and move on what they held; workers in `spare` are known to be alive.

    With `complain`, a worker whose things cannot be read or moved is no obstacle to the rescue of the others.
    """
    dead: dict[str, liveness.Record | None] = {}
    rescued: list[Rescued] = []

    def judge(worker: str) -> None:
        record = liveness.read(spool, worker)
        if _is_dead(spool, observer, worker, record):
            dead[worker] = record

    def move_on(worker: str) -> None:
        rescued.extend(
            rescue_worker(spool, worker, dead[worker], max(0.0, deadline - time.monotonic()))
        )

    _each([worker for worker in liveness.names(spool) if worker not in spare], judge, complain)
    # All their commands have the same grace, not one after the other: our own workers wait for it.
    for worker, record in dead.items():
        for run in _runs(spool.held_by(worker)) if _has_processes_here(spool, record) else ():
            processes.terminate(worker, run, spool.path)
    deadline = time.monotonic() + ORPHAN_GRACE
    _each(list(dead), move_on, complain)
    return rescued


def _each(
    workers: list[str], act: Callable[[str], None], complain: Callable[[str], None] | None
) -> None:
    for worker in workers:
        try:
            act(worker)
        except OSError as error:
            if complain is None:
                raise
            complain(f"cannot rescue the jobs of {worker}: {error}")


def _is_dead(
    spool: Spool, observer: liveness.Observer, worker: str, record: liveness.Record | None
) -> bool:
    if observer.is_alive(worker, record):
        if record is None or not record.is_here or not observer.is_silent(worker):
            return False
        end_hung(spool, record)
    return True


def _runs(held: list[str]) -> list[tuple[str, int]]:
    """The runs whose files a worker holds: what else it has started was left behind on purpose by jobs that ended."""
    return [(name.id, name.attempts) for text in held if (name := decode(text))]


def _has_processes_here(spool: Spool, record: liveness.Record | None) -> bool:
    return record.is_here if record is not None else not spool.is_shared


def end_hung(spool: Spool, record: liveness.Record) -> None:
    """End a worker of this host that lives but whose heart has stopped, and the supervisor that should beat for it.

    Both are stopped (SIGSTOP) or stuck. Nobody may go on one day with a job that runs elsewhere by then.
    """
    for boss in liveness.supervisors(spool):
        if boss.worker == record.supervisor:
            processes.kill(boss.pid)
    if disk.is_held(spool.at("workers", record.worker + ".lock")):
        processes.kill(record.pid)
    deadline = time.monotonic() + processes.KILL_PATIENCE
    while (
        disk.is_held(spool.at("workers", record.worker + ".lock")) and time.monotonic() < deadline
    ):
        time.sleep(0.01)


def rescue_worker(
    spool: Spool, worker: str, record: liveness.Record | None, grace: float = ORPHAN_GRACE
) -> list[Rescued]:
    """Move on what one dead worker held; its commands get `grace` seconds between TERM and KILL."""
    # Of another host a lock says nothing: a server may keep it for one that has lost its power.
    if (
        record is not None
        and record.is_here
        and disk.is_held(spool.at("workers", worker + ".lock"))
    ):
        return []  # not even KILL has ended it yet; look again later
    held = spool.held_by(worker)
    runs = _runs(held)
    if _has_processes_here(spool, record) and not all(
        processes.end_all(worker, grace, run, spool.path) for run in runs
    ):
        return []  # a command that not even KILL ends yet: its job must not run beside it; look again later
    rescued = move_on(spool, worker, died=True)
    liveness.dismiss(spool, worker)
    return rescued


def move_on(spool: Spool, worker: str, *, died: bool) -> list[Rescued]:
    """Move on all that a worker holds: one that died, or one that leaves in good order.

    A run with a record gets the move that its record names. A run without one is lost with a worker
    that died; a worker that leaves gives the job back, and the attempt does not count.
    """
    rescued = []
    for text in spool.held_by(worker):
        file, name = f"processing/{worker}/{text}", decode(text)
        if name is not None:
            rescued += _move_on(spool, Claim(file, name, worker), died=died)
        elif text.endswith(".json"):
            admission.give_back(spool, file)
        elif text.endswith(inbox.TAKEN):
            inbox.give_back(spool, file)
        elif text.endswith(limits.TOKEN):
            limits.give_back(spool, worker, text)
        elif text.endswith(cancellation.END):
            disk.unlink(spool.at(file))
    blocked.sweep(spool)  # its last job may have ended before those that wait for it were woken
    return rescued


def _move_on(spool: Spool, claim: Claim, *, died: bool) -> list[Rescued]:
    if _has_moved(spool, claim):
        # CRASH: a power cut kept the new name of the file and brought the old one back (btrfs); a rename between two names
        # of one file would do nothing.
        disk.unlink(spool.at(claim.file))
        return []
    run = results.of_claim(spool.at("results"), claim.name.id, claim.file)
    if run is None and not died:
        release(spool, claim)
        return []
    if run is None:
        outcome: Outcome = "cancelled" if cancellation.is_requested(spool, claim.file) else "lost"
        run = _record(spool, claim, outcome, f"worker {claim.worker} died while it ran the job")
    return _follow(spool, claim, run)


def _follow(spool: Spool, claim: Claim, run: results.Run) -> list[Rescued]:
    """Make the move that the record of a run names."""
    target = str(run["to"])
    hooks.note_file(spool, target, claim.file)
    # RACE: another rescuer was first, or the worker was alive after all and filed it itself.
    moved = spool.file(claim, target)
    if moved:
        how = {"worker": claim.worker, "attempt": claim.name.attempts, "outcome": run["outcome"]}
        spool.note("rescued", claim.name.id, state=target.partition("/")[0], **how)
    return [Rescued(claim.name.id, claim.worker, target, str(run["outcome"]))] if moved else []


def release(spool: Spool, claim: Claim) -> bool:
    """Give back a claimed job, uncounted; if its end was asked for, bury it instead.

    False: the job was rescued meanwhile.
    """
    if cancellation.is_requested(spool, claim.file):
        return bool(_follow(spool, claim, _record(spool, claim, "cancelled", CANCELLED)))
    return spool.release(claim)


def _has_moved(spool: Spool, claim: Claim) -> bool:
    """Whether the file of a claim has another name in a state: the job went there, and this name should be gone."""
    path, id = spool.at(claim.file), claim.name.id
    if disk.links(path) <= 1 + disk.is_same(path, spool.at("ids", id)):
        return False
    return any(
        entry.file != claim.file and disk.is_same(path, spool.at(entry.file))
        for entry in spool.entries_of(id)
    )


def _record(spool: Spool, claim: Claim, outcome: Outcome, reason: str) -> results.Run:
    """Write into a job's history how a run ended that nobody else can tell of."""
    now = spool.now()
    verdict = judge(claim, outcome, now, spool.settings(), _own_retries(spool, claim.file))
    run = blank(claim, spool.target(claim, *verdict)) | {
        "finished_at": units.iso(now),
        "outcome": outcome,
        "reason": reason,
    }
    results.append(spool.at("results"), claim.name.id, run)
    return run


def judge(
    claim: Claim,
    outcome: Outcome,
    now: float,
    settings: Settings,
    max_retries: int | None,
    after: float | None = None,
) -> Verdict:
    """What becomes of a claimed job by these settings; `max_retries` is its own, if it has one, `after` as in retry.decide."""
    if outcome == "completed":
        return Verdict("completed", now)
    import random  # looking needs no dice

    return decide(
        outcome,
        claim.name.attempts,
        max_retries or settings.max_retries,
        now,
        base=settings.backoff_base,
        most=settings.backoff_max,
        jitter=settings.backoff_jitter,
        dice=random.random(),
        after=after,
    )


def _own_retries(spool: Spool, file: str) -> int | None:
    try:
        return parse(disk.read(spool.at(file), spool.settings().max_job_size).data).max_retries
    except (OSError, InvalidJob):
        return None


def blank(claim: Claim, target: str) -> results.Run:
    """The record of a run of which nothing is known but its claim, and where the job goes."""
    return results.run(
        claim.name.attempts, claim.file, target, claim.worker, "", units.iso(claim.name.time)
    )
