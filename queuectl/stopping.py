"""Stopping workers: those of this place by signals, those elsewhere and Python programs by files.

A place is a host, a boot and a pid namespace: a container with the name of this host is on this host for people,
and out of reach for signals.

Promises
    A process is signalled only if a lock proves that its process id is its own.
    Whoever is alive and chosen is told, or named among those that still run.
Leaves to others
    what a worker does when it is told to stop (supervisor, consumer), reading such files (liveness).
Raises
    NoSuchWorker; OSError from the disk.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from queuectl import cancellation, disk, host, liveness
from queuectl.errors import NoSuchWorker
from queuectl.liveness import SUPERVISOR
from queuectl.spool import Spool

#: Seconds between two looks of somebody who waits for the end.
PAUSE = 0.02


class Chosen(NamedTuple):
    """Whose workers to stop: those of one host, of this one if `host` is None; of all; or those named, by unique beginnings."""

    host: str | None = None
    everywhere: bool = False
    names: tuple[str, ...] = ()

    def has(self, who: liveness.Record) -> bool:
        """Whether this supervisor is meant."""
        if self.names:
            return who.worker in self.names
        return self.everywhere or who.host == (self.host or host.place().host)


def stop(
    spool: Spool, timeout: float | None, *, now: bool, chosen: Chosen
) -> tuple[list[str], list[str]]:
    """Stop supervisors of this spool, and workers that outlived theirs, and wait for them.

    Those elsewhere, and Python programs, are asked by files, which they see at their next heartbeat. Answers (who
    stopped, who still runs).
    """
    chosen, observer = _by_supervisor(spool, chosen), liveness.Observer(spool)
    workers = [who for _, who in liveness.records(spool) if who and _is_held(spool, who, ".lock")]
    here = [who for who in liveness.supervisors(spool) if chosen.has(who)]
    orphans = _orphans(spool, workers, chosen)
    told = {who.pid: who for who in [*here, *orphans] if who.is_here}
    for pid in told:
        cancellation.tell(pid, signal.SIGQUIT if now else signal.SIGTERM)
    away = [who for who in _elsewhere(spool, observer) if chosen.has(who)]
    for who in away:
        liveness.ask_to_stop(spool, who.worker, now=now)
    consumers = _ask_consumers(spool, chosen, observer, now=now)
    beyond = [
        who for who in orphans if not who.is_here
    ]  # nobody hears for them; they end after their job

    def left() -> list[str]:
        found = [str(pid) for pid in _left(spool, told, workers)]
        found += [
            name
            for worker, name in consumers.items()
            if (who := liveness.read(spool, worker)) and observer.is_alive(worker, who)
        ]
        found += [_called(who) for who in beyond if _is_held(spool, who, ".lock")]
        return found + [_called(who) for who in away if _may_run(spool, observer, who)]

    still = _wait(left, timeout)
    everybody = [*map(str, told), *consumers.values(), *map(_called, [*away, *beyond])]
    return sorted(set(everybody) - set(still)), still


def _wait(left: Callable[[], list[str]], timeout: float | None) -> list[str]:
    """Wait until none is left, at most so long: those that are."""
    deadline = None if timeout is None else time.monotonic() + timeout
    still = left()
    while still and (deadline is None or time.monotonic() < deadline):
        time.sleep(PAUSE)
        still = left()
    return still


def _called(who: liveness.Record) -> str:
    """A supervisor or a worker as people know it: its process id, and where that is valid."""
    if who.is_here:
        return str(who.pid)
    place = host.place()
    is_near = (who.host, who.boot) == (place.host, place.boot)
    return f"{who.pid} on {who.host}{', in another container' if is_near else ''}"


def _orphans(spool: Spool, workers: list[liveness.Record], chosen: Chosen) -> list[liveness.Record]:
    """Those workers that outlived their supervisors."""
    bosses = {
        who.worker for who in liveness.every_supervisor(spool) if _is_held(spool, who, SUPERVISOR)
    }
    return [
        who
        for who in workers
        if who.supervisor and who.supervisor not in bosses and chosen.has(who)
    ]


def _elsewhere(spool: Spool, observer: liveness.Observer) -> list[liveness.Record]:
    """The supervisors that no signal of ours reaches, and that may run."""
    return [
        who
        for who in liveness.every_supervisor(spool)
        if not who.is_here and _may_run(spool, observer, who)
    ]


def _may_run(spool: Spool, observer: liveness.Observer, who: liveness.Record) -> bool:
    """Whether a supervisor elsewhere may run. One that was silent before we came is not waited for."""
    if observer.is_shared:
        beaten = disk.modified(spool.at("workers", who.worker + SUPERVISOR))
        if beaten is None or spool.now() - beaten > liveness.lease(spool):
            return False
    return liveness.is_supervising(spool, observer, who.worker)


def _ask_consumers(
    spool: Spool, chosen: Chosen, observer: liveness.Observer, *, now: bool
) -> dict[str, str]:
    """Ask the Python programs among the workers to stop, which have no supervisor: {worker: what people call it}."""
    asked = {}
    for worker, who in liveness.records(spool):
        if who and not who.supervisor and chosen.has(who) and observer.is_alive(worker, who):
            liveness.ask_to_stop(spool, worker, now=now)
            asked[worker] = _called(who)
    return asked


def _by_supervisor(spool: Spool, chosen: Chosen) -> Chosen:
    """The same with names of supervisors, for names of workers or supervisors or their beginnings."""
    known = {who.worker: who.worker for who in liveness.every_supervisor(spool)}
    known |= {name: who.supervisor or name for name, who in liveness.records(spool) if who}
    return chosen._replace(names=tuple(_boss(known, text) for text in chosen.names))


def _boss(known: dict[str, str], text: str) -> str:
    """The supervisor that `text` means; `known` has it for each name."""
    begun = [text] if text in known else [name for name in known if name.startswith(text)]
    bosses = {known[name] for name in begun}
    if len(bosses) == 1 and any(_is_whole(text, name) for name in begun):
        return bosses.pop()
    if len(bosses) > 1:
        what = f"{text!r} can be a worker of {len(bosses)} supervisors; write more of its name"
    else:
        # `mars-1`, said again when that worker is gone, must not stop `mars-12-0a1b2c`.
        what = f"no worker {text!r}" + (f"; did you mean {begun[0]!r}?" if begun else "")
    raise NoSuchWorker(f"{what}; 'queuectl worker list' shows them")


def _is_whole(text: str, name: str) -> bool:
    """Whether `text`, the beginning of the name `<host>-<pid>-<nonce>`, ends at a hyphen or behind the pid."""
    return len(text) > len(name.rpartition("-")[0]) or name[len(text)] == "-"


def _is_held(spool: Spool, who: liveness.Record, end: str) -> bool:
    """Whether a lock shows that a process of this kernel is alive."""
    return who.boot == host.place().boot and bool(
        disk.is_held(spool.at("workers", who.worker + end))
    )


def _left(
    spool: Spool, told: dict[int, liveness.Record], workers: list[liveness.Record]
) -> list[int]:
    """Those that were told to stop and still run, or have a worker that does."""
    busy = {who.supervisor for who in workers if _is_held(spool, who, ".lock")}
    return [
        pid
        for pid, who in told.items()
        if host.is_running(pid) or who.worker in busy or who.supervisor in busy
    ]
