"""The audit: after the storm, where is every job that was accepted, and is it what it was?

Promises
    `failures` names every accepted job that is lost, in two places, damaged, not ended, or
    completed without a run; and every run that began beside another or twice.
Leaves to others
    keeping the evidence (storm); which of the failures are allowed after a power cut (tests.hosts).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from queuectl import Spool, disk, results
from queuectl.errors import InvalidJob
from queuectl.filename import decode
from queuectl.job import parse
from queuectl.layout import NESTED, STATES
from tests.chaos.fleet import Fleet
from tests.chaos.producer import Accepted, Producer


@dataclass
class Findings:
    """What the audit found; each failure is an id or a sentence."""

    accepted: int = 0
    places: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unasked: int = 0
    runs: int = 0
    again: int = 0
    lost_runs: int = 0
    torn: int = 0
    recordless: int = 0
    leftovers: list[str] = field(default_factory=list)
    own_deaths: Counter[str] = field(default_factory=Counter)


def audit(fleet: Fleet, producer: Producer, cancelled: set[str]) -> Findings:
    """Look at everything, once nothing moves any more; the jobs in `cancelled` must be dead."""
    found = examine(fleet.spool, producer.accepted, fleet.arena.ledger.read_text().splitlines())
    found.failures["runs beside another"] += fleet.arena.overlaps.read_text().splitlines()
    where = places(fleet.spool)
    for id in cancelled:
        if not any(file.startswith("dead/") for file in where.get(id, [])):
            found.failures["cancelled, but not dead"].append(f"{id} {where.get(id)}")
    _read_logs(fleet, producer, found)
    return found


def examine(spool: Spool, accepted: Mapping[str, Accepted], ledger: Iterable[str]) -> Findings:
    """Look at what became of the jobs in `accepted`; `ledger` is what their runs wrote."""
    found = Findings(accepted=len(accepted))
    where, runs = places(spool), _runs(ledger, found)
    found.unasked = len(where.keys() - accepted.keys())
    for id, promise in accepted.items():
        _check_place(spool, id, promise, where.get(id, []), found)
        _check_runs(spool, id, where.get(id, []), runs.get(id, []), found)
    found.leftovers = [
        f"{place}/{name}"
        for place in ("workers", "processing", "tmp")
        for name in os.listdir(spool.at(place))
    ]
    return found


def places(spool: Spool) -> dict[str, list[str]]:
    """Where the jobs are, by id; a drop that nobody admitted by its own name."""
    found: dict[str, list[str]] = defaultdict(list)
    for state in STATES:
        directories = (
            [f"{state}/{inner}" for inner in spool.directories(state)]
            if state in NESTED
            else [state]
        )
        for directory in directories:
            for text in spool.names(directory):
                name = decode(text)
                if text.endswith(".json") and not text.startswith("."):
                    found[name.id if name else text.removesuffix(".json")].append(
                        f"{directory}/{text}"
                    )
    return found


def _runs(ledger: Iterable[str], found: Findings) -> dict[str, list[int]]:
    """The attempts that began, by id."""
    runs: dict[str, list[int]] = defaultdict(list)
    for line in ledger:
        id, attempt, _ = line.split()
        runs[id].append(int(attempt))
    found.runs = sum(map(len, runs.values()))
    found.again = sum(len(attempts) > 1 for attempts in runs.values())
    found.failures["attempts that began twice"] += [
        f"{id} {sorted(a)}" for id, a in runs.items() if len(set(a)) < len(a)
    ]
    return runs


def _check_place(
    spool: Spool, id: str, accepted: Accepted, files: list[str], found: Findings
) -> None:
    if not files:
        found.failures["lost"].append(f"{id} {_trace(spool, id)}")
        return
    if len(files) > 1:
        found.failures["in two places"].append(f"{id} {files}")
    state = files[0].partition("/")[0]
    found.places[state] += 1
    if state not in ("completed", "dead"):
        found.failures["not ended"].append(f"{id} {files}")
    if not is_whole(spool, files[0], accepted):
        found.failures["damaged"].append(f"{id} {files}")


def is_whole(spool: Spool, file: str, accepted: Accepted | None) -> bool:
    """Whether a job's file is what was accepted; if that is not known, whether it is a job at all."""
    data = disk.read(spool.at(file), 1 << 20).data
    try:
        command = parse(data).command
    except InvalidJob:
        return False
    return accepted is None or (command == accepted.command and accepted.data in (None, data))


def _check_runs(
    spool: Spool, id: str, files: list[str], attempts: list[int], found: Findings
) -> None:
    history = results.read(spool.at("results"), id)
    found.torn += sum("torn" in run for run in history)
    found.lost_runs += sum(run.get("outcome") == "lost" for run in history)
    for file in files:
        last = [run for run in history if run.get("to") == file]
        found.recordless += not last
        found.cancelled += bool(last) and last[-1]["outcome"] == "cancelled"
        if file.startswith("completed/") and not attempts:
            found.failures["completed without a run"].append(id)
        name = decode(os.path.basename(file))
        if name and attempts and max(attempts) > name.attempts:
            found.failures["attempts not counted"].append(f"{file} ran {sorted(attempts)}")


def _trace(spool: Spool, id: str) -> list[str]:
    """Everything in the spool whose name has the id: the evidence for a lost job."""
    return [
        os.path.join(top, name)
        for top, _, names in os.walk(spool.path)
        for name in names
        if id in name
    ]


def _read_logs(fleet: Fleet, producer: Producer, found: Findings) -> None:
    """Tracebacks are failures; who died without being killed is worth a look."""
    found.failures["tracebacks"] += [why for why in producer.refusals if "Traceback" in why]
    for path in fleet.logs():
        text = path.read_text(errors="replace")
        if "Traceback" in text:
            found.failures["tracebacks"].append(
                f"{path.name}: {text[text.index('Traceback') :].splitlines()[-1]}"
            )
        events = [json.loads(line) for line in text.splitlines() if '"worker_died"' in line]
        found.own_deaths.update(_kind(event["reason"]) for event in events if "reason" in event)
        found.own_deaths.update(
            _kind(line) for line in text.splitlines()[-1:] if not line.startswith("{")
        )
    found.own_deaths.update(fleet.own_ends)


def _kind(reason: str) -> str:
    """A reason without what makes it one of many: paths keep their first directory in the spool."""
    return re.sub(r"\S*/spool/(\w+)[^\s')]*", r"\1/...", reason)
