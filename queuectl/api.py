"""The library: what a Python program needs to enqueue, to look, to cancel, to wait and to consume.

    At least once: a job is safe once `enqueue` has returned, and runs again if its worker died.

Promises
    Nothing here prints, and nothing is loaded before it is needed.
    What is answered is a plain tuple of what was so when it was asked.
Leaves to others
    the moves (spool), the search (lookup), waiting (actions), consuming (consumer).
Raises
    InvalidJob, IdTaken, NoSuchJob, WrongState, TimedOut, SpoolError: all are QueuectlErrors; OSError from the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from queuectl import layout, paths, spool, units
from queuectl.errors import InvalidJob, NoSuchJob, TimedOut, Wrong
from queuectl.job import Job, record_of
from queuectl.strict import kind

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from queuectl import actions
    from queuectl.consumer import Consumer
    from queuectl.intake import Wanted

    Duration = float | str | timedelta


class Fields(TypedDict, total=False):
    """The fields of a job as keywords; those that are None say nothing. docs/format.md has what they mean."""

    command: str | Sequence[str | os.PathLike[str]] | None
    id: str | None
    priority: int | None
    run_at: str | datetime | None
    delay: float | str | timedelta | None
    max_retries: int | None
    timeout: float | str | timedelta | None
    cwd: str | os.PathLike[str] | None
    env: Mapping[str, str] | None
    stdin: str | None
    name: str | None
    meta: Any
    batch: str | None
    limit: str | None
    unique: str | None
    after: str | Sequence[str] | None
    after_any: str | Sequence[str] | None
    after_failed: str | Sequence[str] | None
    success_codes: Sequence[int] | None
    no_retry_codes: Sequence[int] | None
    retry_after_codes: Mapping[int, float | str] | None


class JobView(NamedTuple):
    """A job as it was when somebody looked. `due`: from when on it may run, while it waits, in seconds since 1970.

    `file` is its path from the spool; `job` are all its fields, None (and `command`, too) if its file cannot be read.
    """

    id: str
    state: str
    command: str | tuple[str, ...] | None
    name: str | None
    meta: Any
    priority: int
    attempts: int
    due: float | None
    worker: str | None
    file: str
    job: Job | None


class Run(NamedTuple):
    """One run of a job, named by its claim; times in seconds since 1970. docs/format.md says what the fields mean."""

    attempt: int | None
    claim: str | None
    to: str | None
    worker: str | None
    host: str | None
    started_at: float | None
    finished_at: float | None
    duration: float | None
    outcome: str | None
    reason: str | None
    exit_code: int | None
    signal: int | None
    cpu_seconds: float | None
    max_rss_kb: int | None
    stdout_tail: str | None
    stderr_tail: str | None
    superseded: bool


class Result(NamedTuple):
    """How a job ended. `state` is completed or dead; `code` is what `queuectl wait` would exit with.

    The rest is of its last run, as far as there is a record of it: `exit_code` is None for a job that was no command.
    """

    id: str
    state: str
    code: int
    outcome: str | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    attempts: int
    duration: float | None
    stdout_tail: str
    stderr_tail: str

    @property
    def is_completed(self) -> bool:
        """Whether the job did what it should."""
        return self.state == "completed"


class Spool(spool.Spool):
    """A spool at `path`. Making the object touches nothing; enqueue and consume make the directories if need be.

    `flags` are settings that beat those of the environment and of config.json.
    """

    def enqueue(
        self,
        job: Wanted | None = None,
        *,
        hold: bool = False,
        **fields: Unpack[Fields],
    ) -> str:
        """Put a job, its JSON object, a shell command or an argv into the queue; its id, once it is on disk.

        With `hold` it waits in held/ until it is released. Keywords are the job's fields; they beat those in `job`, and
        do without it. A timedelta is as good as seconds or "10m", a datetime with a zone as good as ISO 8601.
        """
        given = {key: _plain(key, value) for key, value in fields.items() if value is not None}
        if not given and job is not None:
            return super().enqueue(job, hold=hold)
        record = {} if job is None else record_of(job)
        if not isinstance(record, dict):
            raise InvalidJob(f"must be a job, a command or a list of words, not {kind(job)}", "job")
        if "command" in given and not isinstance(job, Job | dict | None):
            raise InvalidJob("is given twice; leave one of them out", "command")
        for one, other in (("run_at", "delay"), ("delay", "run_at")):
            if one in given and other not in given:
                record = {key: value for key, value in record.items() if key != other}
        return super().enqueue({**record, **given}, hold=hold)

    # -- looking

    def jobs(
        self, state: str | Iterable[str] | None = None, *, limit: int | None = None
    ) -> Iterator[JobView]:
        """The jobs in a state, in some, or in all, in the order of `queuectl list`; each file is read when its turn comes.

        A listing is a sample: what moves meanwhile may be missing.
        """
        states = layout.STATES if state is None else _list(state, "state", alone=True)
        if wrong := [one for one in states if one not in layout.STATES]:
            raise Wrong(f"no state {wrong[0]!r}; there are {', '.join(layout.STATES)}")
        _check_limit(limit)
        self.open()
        return self._views(set(states), limit)

    def _views(self, states: set[str], limit: int | None) -> Iterator[JobView]:
        from queuectl import disk, lookup

        for entry in () if limit == 0 else lookup.select(self, states, limit or 0):
            view = _view(self, entry)
            # RACE: it has moved between the listing and the look.
            if view.job is not None or disk.is_there(self.at(entry.file)):
                yield view

    def get(self, id: str) -> JobView:
        """The job with this id."""
        from queuectl import lookup

        return lookup.view(self, lookup.find(self.open(), id), lambda entry: _view(self, entry))

    def runs(self, id: str) -> list[Run]:
        """The history of a job, oldest first."""
        from queuectl import lookup

        return [_run(run) for run in lookup.runs(self, lookup.find(self.open(), id))]

    # -- changing its course

    def cancel(self, id: str) -> bool:
        """Cancel a job: True if it waited and is dead now, False if it runs and its worker was asked to end it. Else WrongState."""
        from queuectl import actions

        return actions.cancel(self.open(), id) == "cancelled"

    def retry(self, id: str, *, again: bool = False) -> None:
        """Let a failed job run now, or bring a dead one back with all its attempts; with `again` a completed one, too. Else WrongState."""
        from queuectl import actions, lookup

        lookup.pursue(
            self,
            lookup.find(self.open(), id),
            lambda entry: actions.retry(self, entry, again=again),
        )

    # -- waiting

    def wait(self, id: str, *, timeout: Duration | None = None) -> Result:
        """Wait until a job is completed or dead, and say how it ended; TimedOut after `timeout` seconds."""
        return self.wait_all([id], timeout=timeout)[0]

    def wait_all(self, ids: Iterable[str], *, timeout: Duration | None = None) -> list[Result]:
        """Wait until all these jobs are completed or dead, and say how each ended; TimedOut names those that had not."""
        from queuectl import actions, lookup

        wanted, seconds = _list(ids, "ids"), _seconds(timeout, "timeout")
        self.open()
        names = [lookup.find(self, id).name.id for id in wanted]
        ended: dict[str, actions.Waited] = {}
        if actions.wait(self, names, seconds, lambda one: ended.update({one.id: one})) is None:
            raise TimedOut([name for name in names if name not in ended], seconds or 0)
        return [_result(self, ended[name]) for name in names]

    # -- consuming

    def consume(
        self, *, wait: bool = True, limit: int | None = None, stop: Callable[[], bool] | None = None
    ) -> Consumer:
        """The jobs that may run now, one after the other, for this program to work on: `for job in ...: with job: ...`.

        With `wait` it waits for more, else it ends when nothing may run now. It ends after `limit` jobs, when `stop()` is
        true, and when `queuectl worker stop` asks for it. It takes any job of the spool: give commands a spool of their own.
        """
        from queuectl.consumer import Consumer

        _check_limit(limit)
        if stop is not None and not callable(stop):
            raise TypeError(f"stop: must be a function, not {kind(stop)}")
        return Consumer(spool.Spool(self.path, self._flags), wait=wait, limit=limit, stop=stop)


def _plain(key: str, value: Any) -> Any:
    """A field as a job may have it."""
    if key == "cwd" and isinstance(value, os.PathLike):
        try:
            return paths.absolute(value)
        except ValueError as error:
            raise InvalidJob(str(error), key) from None
    return dict(value) if key == "env" and isinstance(value, Mapping) else value


def _list(value: Iterable[str], key: str, *, alone: bool = False) -> list[str]:
    """Some texts, or with `alone` just one; a text would be taken for a list of letters."""
    if isinstance(value, str) and alone:
        return [value]
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"{key}: must be a list of strings, not {kind(value)}")
    return list(value)


def _check_limit(limit: object) -> None:
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit: must be a whole number, not {kind(limit)}")
    if limit < 0:
        raise Wrong(f"limit {limit} is negative; give how many jobs you want, or None for all")


def _seconds(value: Duration | None, key: str) -> float | None:
    try:
        return None if value is None else units.seconds(value)
    except ValueError as error:
        raise Wrong(f"{key}: {error}") from None


def _view(spool: Spool, entry: layout.Entry) -> JobView:
    from queuectl import lookup

    job, name = lookup.read(spool, entry.file), entry.name
    return JobView(
        id=name.id,
        state=entry.state,
        command=job.command if job else None,
        name=job.name if job else None,
        meta=job.meta if job else None,
        priority=name.priority,
        attempts=name.attempts,
        due=None if entry.state in ("processing", *layout.ENDED) else name.time,
        worker=entry.worker,
        file=entry.file,
        job=job,
    )


def _run(record: dict[str, Any]) -> Run:
    times = {
        key: units.instant(record[key]) if record[key] else None
        for key in ("started_at", "finished_at")
    }
    return Run(**{**record, **times})


def _result(spool: Spool, ended: actions.Waited) -> Result:
    from queuectl import lookup

    try:
        entry = lookup.find(spool, ended.id)
    except NoSuchJob:
        entry = None  # RACE: somebody removed it as soon as it had ended
    run = (lookup.last_run(spool, entry) if entry else None) or {}
    return Result(
        id=ended.id,
        state=ended.state,
        code=ended.code,
        outcome=run.get("outcome"),
        exit_code=run.get("exit_code"),
        signal=run.get("signal"),
        reason=run.get("reason"),
        attempts=entry.name.attempts if entry else 0,
        duration=run.get("duration"),
        stdout_tail=run.get("stdout_tail") or "",
        stderr_tail=run.get("stderr_tail") or "",
    )
