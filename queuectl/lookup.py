"""Finding jobs and showing them: names first, contents only of those that are shown.

A listing is a sample while workers move files, so one id is looked for in the order of
a job's life, twice, before it counts as not found.

Promises
    A record's keys are those of docs/format.md and are never renamed.
    A file that cannot be read is shown as such; it never hides the others.
Leaves to others
    printing (render, cli).
Raises
    NoSuchJob, AmbiguousId.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, TypeVar

from queuectl import config, disk, ids, liveness, results, units
from queuectl.errors import AmbiguousId, InvalidJob, NoSuchJob
from queuectl.filename import STAMP, Name, decode, has_shape, id_of, is_id, stamp
from queuectl.job import Job, parse
from queuectl.layout import ENDED, NESTED, STATES, Entry
from queuectl.spool import Spool

Record = dict[str, Any]

T = TypeVar("T")

#: What to do about several builds of queuectl.
ONE_BUILD = "install the same one on all hosts, then start the workers again"

#: The order in which states are listed.
SHOWN = ("processing", "pending", "blocked", "held", "failed", "dead", "completed")


#: Ids with one beginning that a search keeps: enough to show that there are several.
SEVERAL = 5


def find(spool: Spool, id: str) -> Entry:
    """The job whose id is `id`."""
    if entry := at_last_record(spool, id):
        return entry
    found = _search(spool, id)
    if id not in found:  # RACE: one search can miss a job that moves
        found = _search(spool, id)
    if id not in found:
        raise NoSuchJob(id, spool.path, next(iter(found)) if len(found) == 1 else None)
    return found[id]


def find_by_beginning(spool: Spool, begin: str) -> Entry:
    """The job whose id is `begin`, or else the only job whose id begins with it.

    For looking only: a verb that is said twice must not reach another job the second time.
    """
    if entry := at_last_record(spool, begin):
        return entry
    found = _search(spool, begin) or _search(spool, begin)
    if not found:
        raise NoSuchJob(begin, spool.path)
    if len(found) > 1:
        raise AmbiguousId(begin, sorted(found))
    return next(iter(found.values()))


def find_to_change(spool: Spool, text: str) -> Entry:
    """The job whose id is `text`, or the job whose id queuectl made and begins with `text`.

    Such a beginning must be long enough that no other id ever has it.
    """
    if not ids.can_begin_ours(text):
        return find(spool, text)
    entry = find_by_beginning(spool, text)
    id = entry.name.id
    # An id with a link was chosen by a caller, whatever its shape.
    if id != text and (not ids.is_ours(id) or disk.links(spool.at("ids", id))):
        raise NoSuchJob(text, spool.path, id)
    return entry


def pursue(spool: Spool, entry: Entry, act: Callable[[Entry], T | None]) -> T:
    """Do something to one job, wherever it moves meanwhile. `act` answers what was done; nothing, if the job was not there any more."""
    while not (done := act(entry)):
        # RACE: the job moved between the look and the deed; look again.
        entry = find(spool, entry.name.id)
    return done


def view(spool: Spool, entry: Entry, look: Callable[[Entry], T]) -> T:
    """What `look` answers about one job; asked again if the job moved meanwhile."""

    def act(entry: Entry) -> tuple[T] | None:
        answer = look(entry)
        return (answer,) if disk.is_there(spool.at(entry.file)) else None

    return pursue(spool, entry, act)[0]


def at_last_record(spool: Spool, id: str) -> Entry | None:
    """The quick way: where the last record said that the job was going."""
    if not isinstance(id, str):
        raise TypeError(f"id: must be a string, not {type(id).__name__}")
    if not is_id(id) or not (runs := results.read(spool.at("results"), id)):
        return None
    file = str(runs[-1].get("to", ""))
    name = decode(os.path.basename(file))
    state = file.partition("/")[0]
    if name is None or name.id != id or state not in STATES or not disk.is_there(spool.at(file)):
        return None
    return Entry(state, name, file)


def _search(spool: Spool, begin: str) -> dict[str, Entry]:
    """The job whose id is `begin`, alone; or else SEVERAL of those whose ids begin with it."""
    found: dict[str, Entry] = {}
    if not begin:  # an empty text begins every id
        return found
    for entry in _all(spool, f"-{begin}"):
        id = entry.name.id
        if id == begin:
            return {id: entry}
        if id.startswith(begin) and len(found) < SEVERAL:
            found[id] = entry
    return found


def _all(spool: Spool, part: str) -> Iterator[Entry]:
    """The jobs whose names contain `part`, in the order of a job's life, and all drops."""
    for state in STATES:
        yield from spool.entries(state, part)
    yield from drops(spool)


def drops(spool: Spool) -> Iterator[Entry]:
    """What programs have dropped and no worker has admitted yet; a drop without an id is known by its file name."""
    for text in spool.drops():
        file = f"pending/{text}"
        job, came = read(spool, file), disk.modified(spool.at(file)) or spool.now()
        name = Name(
            units.clamped(job.due(came) if job else came),
            job.priority if job else 0,
            0,
            (job.id if job else None) or text,
        )
        yield Entry("pending", name, file)


def read(spool: Spool, file: str) -> Job | None:
    """What a job file says; None if it cannot be read."""
    try:
        return parse(disk.read(spool.at(file), spool.settings().max_job_size).data)
    except (OSError, InvalidJob):
        return None


def select(
    spool: Spool, states: Iterable[str], limit: int, among: Container[str] | None = None
) -> list[Entry]:
    """The jobs to list: each state in its own order, `limit` in all (0: every one), or only those with an id `among` these."""
    found: list[Entry] = []
    for state in SHOWN:
        if state in states and (not limit or len(found) < limit):
            found += _ordered(spool, state, limit - len(found) if limit else 0, among)
    return found


def _ordered(spool: Spool, state: str, limit: int, among: Container[str] | None) -> list[Entry]:
    """The jobs of a state in its order, by their names as texts: of a million only those to show are taken apart."""
    if state in NESTED:
        return sorted(spool.entries(state, among=among), key=lambda entry: entry.name.time)[
            : limit or None
        ]
    if state in ENDED:
        chosen = _latest(spool, state, limit, among)
    else:
        names = _shaped(spool, state, among)
        now = stamp(spool.now())
        key = (lambda text: next_pending(text, now)) if state == "pending" else None
        chosen = heapq.nsmallest(limit, names, key) if limit else sorted(names, key=key)
    waiting = list(drops(spool)) if state == "pending" and among is None else []
    found = [Entry(state, name, f"{state}/{text}") for text in chosen if (name := decode(text))]
    return (waiting + found)[: limit or None]


def _latest(spool: Spool, state: str, limit: int, among: Container[str] | None) -> list[str]:
    """The names of a state, the latest first. Only if other files are among those that come first is each name looked at."""
    if limit and among is None:
        chosen = heapq.nlargest(limit, spool.names(state))
        if all(map(has_shape, chosen)):
            return chosen
    names = _shaped(spool, state, among)
    return heapq.nlargest(limit, names) if limit else sorted(names, reverse=True)


def _shaped(spool: Spool, state: str, among: Container[str] | None) -> Iterator[str]:
    return (
        text
        for text in spool.names(state)
        if (among is None or id_of(text) in among) and has_shape(text)
    )


def next_pending(text: str, now: str) -> str:
    """What may run now comes by priority, after it what must wait by its time."""
    return f"0{9 - int(text[25])}{text}" if text[:STAMP] <= now else f"1{text}"


Why = Callable[[Entry, Job | None, int], str | None]


def record(
    spool: Spool, entry: Entry, settings: config.Settings, why: Why = lambda *_: None
) -> Record:
    """One job as `list --json` shows it: the values in force. `why` says what keeps a job with so many retries from running."""
    name, job = entry.name, read(spool, entry.file)
    created = job.created_at if job else None
    if created is None and (written := disk.modified(spool.at(entry.file))) is not None:
        created = units.clamped(written)
    waits = entry.state not in ("processing", *ENDED)
    max_retries = (job.max_retries if job else None) or settings.max_retries
    return {
        "id": name.id,
        "command": None
        if job is None
        else job.command
        if isinstance(job.command, str)
        else list(job.command),
        "state": entry.state,
        "priority": name.priority,
        "attempts": name.attempts,
        "max_retries": max_retries,
        "created_at": None if created is None else units.iso(created),
        "updated_at": _updated(spool, entry, created),
        "run_at": units.iso(name.time) if waits else None,
        "worker": entry.worker,
        "file": entry.file,
        "name": job.name if job else None,
        "batch": job.batch if job else None,
        "waits": why(entry, job, max_retries),
    }


def _updated(spool: Spool, entry: Entry, created: float | None) -> str | None:
    if entry.state in ("processing", *ENDED):
        return units.iso(entry.name.time)
    runs = results.read(spool.at("results"), entry.name.id) if entry.name.attempts else []
    if runs and (finished := _time(runs[-1].get("finished_at"))):
        return finished
    return None if created is None else units.iso(created)


#: The fields of a job's file that only `show` shows.
_MORE = (
    "delay", "cwd", "env", "stdin", "meta", "submitted_by", "limit", "unique", "after", "after_any", "after_failed",
    "success_codes", "no_retry_codes", "retry_after_codes",
)  # fmt: skip


def full_record(
    spool: Spool,
    entry: Entry,
    settings: config.Settings,
    why: Why = lambda *_: None,
    *,
    with_env: bool = False,
) -> Record:
    """One job as `show --json` shows it: all fields of its file, and its runs.

    The values of `env` may be secrets: they are None unless `with_env`.
    """
    job = read(spool, entry.file)
    fields = job.to_dict() if job else {}
    timeout = settings.timeout if job is None or job.timeout is None else job.timeout
    if not with_env and "env" in fields:
        fields["env"] = dict.fromkeys(fields["env"])
    more = {key: fields.get(key) for key in _MORE}
    return {
        **record(spool, entry, settings, why),
        "timeout": timeout,
        **more,
        "runs": runs(spool, entry),
    }


#: The keys of a run, in the order in which they are shown.
RUN_KEYS = (
    "attempt", "claim", "to", "worker", "host", "started_at", "finished_at", "duration", "outcome", "reason",
    "exit_code", "signal", "cpu_seconds", "max_rss_kb", "stdout_tail", "stderr_tail",
)  # fmt: skip


def runs(spool: Spool, entry: Entry) -> list[Record]:
    """The history of a job, oldest first; `superseded` marks a record whose move never happened."""
    found = results.read(spool.at("results"), entry.name.id)
    by_claim: dict[str, list[Record]] = {}
    for run in found:
        by_claim.setdefault(str(run.get("claim")), []).append(run)
    shown = []
    for run in found:
        rivals = by_claim[str(run.get("claim"))] if "claim" in run else [run]
        # Of two with one claim the job is where one says; if it has moved on since, the first is the rescuer's, who moves at once.
        moved = next((rival for rival in rivals if rival.get("to") == entry.file), rivals[0])
        known = {key: run.get(key) for key in RUN_KEYS}
        known |= {key: _time(known[key]) for key in ("started_at", "finished_at")}
        if "output_lost" in run:
            known["output_lost"] = run["output_lost"]
        if run.get("torn"):
            known["reason"] = "the record is torn: the machine stopped while it was written"
        shown.append({**known, "superseded": run is not moved})
    return shown


def _time(text: object) -> str | None:
    """A time in a record; None if it is none: other programs write records, too."""
    try:
        units.instant(text)
    except ValueError:
        return None
    return str(text)


def last_run(spool: Spool, entry: Entry) -> Record | None:
    """The run that brought a job where it is."""
    for run in reversed(results.read(spool.at("results"), entry.name.id)):
        if run.get("to") == entry.file:
            return run
    return None


def status(spool: Spool, observer: liveness.Observer) -> Record:
    """The whole spool as `status --json` shows it."""
    now = spool.now()
    scheduled, oldest = 0, None
    for state in ("pending", "failed"):
        for entry in spool.entries(state):
            if entry.name.time > now:
                scheduled += 1
            elif oldest is None or entry.name.time < oldest:
                oldest = entry.name.time
    jobs: dict[str, int | None] = {state: spool.count(state) for state in STATES}
    return status_of(spool, observer, jobs | {"rejected": _rejected(spool)}, scheduled, oldest)


def status_of(
    spool: Spool,
    observer: liveness.Observer,
    jobs: dict[str, int | None],
    scheduled: int,
    oldest: float | None,
) -> Record:
    """The same for jobs that somebody has counted. `oldest`: since when the job waits that has been ready for longest."""
    return {
        "spool": spool.path,
        "jobs": jobs,
        "scheduled": scheduled,
        "oldest_ready_seconds": None
        if oldest is None
        else max(0.0, round(spool.now() - oldest, 3)),
        "paused": spool.is_paused(),
        "workers": workers(spool, observer),
    }


def _rejected(spool: Spool) -> int:
    return sum(not name.endswith(".reason") for name in disk.scan(spool.at("rejected")))


def workers(spool: Spool, observer: liveness.Observer) -> list[Record]:
    """Everybody who works here, or left something behind."""
    found = []
    for name, who in liveness.records(spool):
        job = next((e.name.id for text in spool.held_by(name) if (e := _entry(name, text))), None)
        age = observer.age(name)
        found.append({
            "name": name,
            "host": who.host if who else None,
            "pid": who.pid if who else None,
            "alive": observer.is_alive(name, who),
            "job": job,
            "heartbeat_age": None if age is None else round(age, 3),
            "supervisor_pid": who.supervisor_pid if who else None,
            "started_at": units.iso(who.started_at) if who else None,
            "version": liveness.build_of(spool, name),
        })  # fmt: skip
    return found


def several_builds(found: list[Record], own: str | None = None) -> str | None:
    """The builds of queuectl that the living workers run, and with `own` this program; None: it is one.

    A worker without a supervisor may be another program, so it need not say what it runs.
    """
    hosts: dict[str, set[str]] = {}
    for worker in found:
        is_supervised = worker["supervisor_pid"] != worker["pid"]
        build = worker["version"] or ("an older one" if is_supervised else None)
        if worker["alive"] and build:
            hosts.setdefault(build, set()).add(worker["host"] or "?")
    if hosts and own:
        hosts.setdefault(own, set()).add("this command")
    if len(hosts) < 2:
        return None
    each = (f"{build} ({', '.join(sorted(names))})" for build, names in sorted(hosts.items()))
    return f"different builds of queuectl work here: {', '.join(each)}"


def _entry(worker: str, text: str) -> Entry | None:
    name = decode(text)
    return Entry("processing", name, f"processing/{worker}/{text}", worker) if name else None
