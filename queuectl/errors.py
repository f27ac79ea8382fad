"""Everything queuectl can say no to.

    QueuectlError                 exit 1   base of all; `message` is one line: what, where, why, cure
    |-- Wrong                     exit 2   a command line or a JSON argument that is wrong
    |   |-- InvalidJob                     a job that cannot be one; carries `field`
    |   |-- InvalidSetting                 an unknown setting, or a value it cannot have
    |   `-- InvalidSchedule                a schedule that cannot be one
    |-- NoSuchJob                 exit 3   no job has this id
    |-- NoSuchBatch               exit 3   there is no batch of this name
    |-- NoSuchWorker              exit 3   no worker has this name, or several have it
    |-- NoSuchSchedule            exit 3   no schedule has this name
    |-- IdTaken                   exit 4   the id belongs to another job; carries `id` and `state`
    |-- KeyTaken                  exit 4   another job with this unique key waits or runs; carries `key` and `holder`
    |-- ScheduleTaken             exit 4   there is a schedule of this name
    |-- AmbiguousId               exit 1   several ids begin like this
    |-- WrongState                exit 1   the job is not where this verb needs it
    |-- LostClaim                 exit 1   a job was rescued while a Python program worked on it; carries `id` and `worker`
    |-- TimedOut                  exit 1   jobs that were waited for had not ended in time; a TimeoutError, too; carries `ids`
    |-- ServiceError              exit 1   a unit of systemd that cannot be written or removed
    |-- ConfigDamaged             exit 1   config.json cannot be read; it is never overwritten
    |-- ScheduleDamaged           exit 1   a file in schedules/ cannot be read, or is not to be trusted
    `-- SpoolError                exit 1   the spool itself
        |-- Locked                         another process holds config.json.lock or ids/.lock
        |-- SpoolMissing                   there is none at this path
        |-- SpoolUnusable                  a file, foreign files, or not ours to read or write
        `-- SpoolVersion                   of a format that this queuectl does not know

Lost races are not errors: verbs answer them with None or False.
"""

from __future__ import annotations


class QueuectlError(Exception):
    """Base of all. `str(error)` is the whole line that a person sees."""

    exit_code = 1


def complaint(error: Exception) -> str:
    """One line about an error; with its type and its place in the code, unless it is made for people."""
    text = " ".join(str(error).split())
    if isinstance(error, QueuectlError | OSError):
        return text
    place, trace = "", error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        place, trace = f" ({code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})", trace.tb_next
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


class Wrong(QueuectlError):
    """The caller's words are wrong; nothing was changed."""

    exit_code = 2


class InvalidJob(Wrong):
    """A job's JSON is wrong. `field` is the key at fault, or None for the whole."""

    def __init__(self, why: str, field: str | None = None) -> None:
        super().__init__(f"{field}: {why}" if field else why)
        self.field = field
        self.why = why


class InvalidSetting(Wrong):
    """A setting's name or value is wrong."""


class InvalidSchedule(Wrong):
    """A schedule's JSON, its name, its time or its zone is wrong."""


class NoSuchJob(QueuectlError):
    """No job in the spool has this id. `meant`: the only id that begins with it, as a hint."""

    exit_code = 3

    def __init__(self, id: str, spool: str, meant: str | None = None) -> None:
        cure = f"did you mean {meant!r}?" if meant else "'queuectl list' shows the jobs there are"
        super().__init__(f"no job {id!r} in {spool}; {cure}")
        self.id = id


class NoSuchBatch(QueuectlError):
    """No job of a batch of this name is in the spool."""

    exit_code = 3

    def __init__(self, name: str, spool: str) -> None:
        super().__init__(
            f"no batch {name!r} in {spool}; 'ls {spool}/batches' shows those there are"
        )
        self.name = name


class NoSuchWorker(QueuectlError):
    """No worker of the spool has this name or beginning, or several have."""

    exit_code = 3


class NoSuchSchedule(QueuectlError):
    """No schedule in the spool has this name."""

    exit_code = 3

    def __init__(self, name: str, spool: str) -> None:
        super().__init__(
            f"no schedule {name!r} in {spool}; 'queuectl schedule list' shows those there are"
        )
        self.name = name


class AmbiguousId(QueuectlError):
    """A prefix fits several jobs."""

    def __init__(self, prefix: str, ids: list[str]) -> None:
        some = ", ".join(ids[:4]) + (", ..." if len(ids) > 4 else "")
        super().__init__(f"{prefix!r} begins several ids ({some}); give more of the one you mean")
        self.prefix = prefix
        self.ids = ids


class IdTaken(QueuectlError):
    """The id belongs to a job that is in the spool already."""

    exit_code = 4

    def __init__(self, id: str, state: str | None) -> None:
        where = (
            f"a job with this id is {state}" if state else "a job with this id was just enqueued"
        )
        super().__init__(
            f"id {id!r} is taken: {where}; choose another id, or 'queuectl remove {id}' first"
        )
        self.id = id
        self.state = state


class KeyTaken(QueuectlError):
    """Another job with this unique key waits or runs."""

    exit_code = 4

    def __init__(self, key: str, holder: str, state: str | None) -> None:
        where = f"which is {state}" if state else "which was just enqueued"
        super().__init__(
            f"unique {key!r} is held by job {holder}, {where}; wait until it has ended, or 'queuectl cancel {holder}' first"
        )
        self.key = key
        self.holder = holder


class ScheduleTaken(QueuectlError):
    """There is a schedule of this name already."""

    exit_code = 4

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a schedule {name!r} already; choose another name, or 'queuectl schedule remove {name}' first"
        )
        self.name = name


class WrongState(QueuectlError):
    """The job is in a state that this verb cannot act on."""


class LostClaim(QueuectlError):
    """Others took the worker for dead while it worked on a job: the job is theirs, and this outcome was dropped."""

    def __init__(self, id: str, worker: str) -> None:
        super().__init__(
            f"job {id} is no longer ours: worker {worker} gave no sign of life for too long, or its files were removed, "
            "so the job was rescued and may run again; undo what must not happen twice"
        )
        self.id = id
        self.worker = worker


class TimedOut(QueuectlError, TimeoutError):
    """Jobs that were waited for are neither completed nor dead yet."""

    def __init__(self, ids: list[str], seconds: float) -> None:
        some = ", ".join(ids[:4]) + (", ..." if len(ids) > 4 else "")
        super().__init__(
            f"not ended after {seconds:g} s: {some}; wait longer, or see 'queuectl list'"
        )
        self.ids = ids


class ServiceError(QueuectlError):
    """A unit of systemd cannot be written, or is not ours to change."""


class ConfigDamaged(QueuectlError):
    """config.json is there but cannot be understood."""

    def __init__(
        self, path: str, why: str, cure: str = "correct the file, or remove it to use the defaults"
    ) -> None:
        super().__init__(f"settings in {path} are damaged ({why}); {cure}")
        self.path = path


class ScheduleDamaged(QueuectlError):
    """A file in schedules/ is there but cannot be understood, or is not to be trusted."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}; no job comes of it until that is mended")
        self.path = path


class SpoolError(QueuectlError):
    """The spool cannot be used."""


class SpoolMissing(SpoolError):
    """There is no spool at this path."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"no spool at {path}; 'queuectl init {path}' makes one, and so does the first enqueue"
        )
        self.path = path


class SpoolUnusable(SpoolError):
    """The path is no spool that we can work with."""


class SpoolVersion(SpoolError):
    """The spool's format is not ours."""


class Locked(SpoolError):
    """Another process holds a lock file for longer than we wait."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__(
            f"{path} has been locked by another process for {seconds:g} s; try again, or end that process: 'queuectl doctor' says how"
        )
        self.path = path
