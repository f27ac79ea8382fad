"""The library, given values of every type: it takes them, or it says which one is wrong; it never stumbles."""

import contextlib
import datetime as dt
import decimal
import enum
import fractions
import math
import os
from pathlib import Path
from types import MappingProxyType

import pytest

from queuectl import InvalidJob, Job, NoSuchJob, QueuectlError, Spool, timetable
from queuectl.api import Fields
from queuectl.job import parse


class Word(str, enum.Enum):  # noqa: UP042  unlike a StrEnum it is formatted as its name
    X = "x"


class Number(int, enum.Enum):
    FIVE = 5


class BytesPath:
    def __fspath__(self):
        return b"/x"


def ring():
    """A list that contains itself."""
    found = []
    found.append(found)
    return found


def deep(levels):
    found = 1
    for _ in range(levels):
        found = [found]
    return found


ZONED = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
NAIVE = ZONED.replace(tzinfo=None)

VALUES = [
    True, False, 0, -1, 5, 10**400, 2**63, 1.5, -0.0, math.nan, math.inf, 1e300, 1j,
    "", "x", "x y", "\0", "\ud800", "\udcff", "é", "9" * 5000, "[" * 5000, "{" * 5000, "[NaN]", "[1e999]", '{"75": "x"}',
    "2199-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "36500d",
    b"x", bytearray(b"x"), memoryview(b"x"), Path("x"), Path("/x"), BytesPath(),
    [], ["a"], [1], [b"a"], [None], ["\ud800"], [Path("a"), "b"], [BytesPath()], (), ("a",), ("a", 1), [[]],
    {}, {"a": 1}, {1: 2}, {1: 1, "1": 2}, {"command": "x"}, {"command": None}, {"a": object()}, {"A": "b"}, {"75": 60},
    MappingProxyType({"A": "b"}), set(), {"a"}, frozenset({1}), range(3), iter(["a"]),
    object(), int, print, len, ..., NotImplemented, ValueError("x"), Word.X, Number.FIVE,
    decimal.Decimal(1), fractions.Fraction(1, 2),
    NAIVE, ZONED, dt.datetime.max.replace(tzinfo=dt.UTC), ZONED.date(), dt.timedelta(1), dt.timedelta(-1), dt.timedelta.max, dt.datetime,
    Job("x"), Job(5), Job("x", run_at="soon"), Job("x", run_at=math.nan), Job("x", run_at=1e300), Job("x", env=5),
    Job("x", after=5), Job("x", retry_after_codes={1: "x"}), Job("x", delay=object()), Job("x", meta={1: 1, "1": 2}),
    ring(), deep(50), deep(98), deep(99), deep(100), deep(101), deep(900),
]  # fmt: skip

FIELDS = [*Fields.__annotations__, "created_at", "submitted_by", "state", "nonsense", 5]


@pytest.fixture
def tidy(spool):
    """Does something that may enqueue: what came must be what a worker reads; then it goes."""

    def enqueue(act):
        with contextlib.suppress(QueuectlError):
            act()
        for entry in spool.entries("pending"):
            path = Path(spool.at(entry.file))
            job = parse(path.read_bytes())
            assert job.id in (None, entry.name.id)
            assert job.due(job.created_at) == pytest.approx(entry.name.time)
            path.unlink()

    return enqueue


def test_what_is_enqueued_is_a_job_or_is_refused(spool, tidy):
    for value in VALUES:
        tidy(lambda value=value: spool.enqueue(value))
        tidy(lambda value=value: spool.enqueue_all([value]))
        tidy(lambda value=value: spool.enqueue_all([{"command": "true"}, value]))


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_takes_its_values_and_refuses_all_others(spool, tidy, field):
    for value in VALUES:
        tidy(lambda value=value: spool.enqueue({"command": "true", field: value}))
        if isinstance(field, str):
            tidy(lambda value=value: spool.enqueue({"command": "true"}, **{field: value}))
        if field in Job._fields:
            made = Job("true")._replace(**{field: value})
            tidy(lambda made=made: spool.enqueue(made))


@pytest.mark.parametrize(
    "value",
    ["make all", b"make", {"command": "true"}, Job("true"), 5, None, len, Path("x"), Word.X],
)
def test_many_jobs_are_a_list_and_no_job_by_itself(spool, value):
    with pytest.raises(InvalidJob, match="^jobs: enqueue_all takes a list of jobs, not "):
        spool.enqueue_all(value)

    assert not list(spool.jobs())


def refused(call, *names):
    """Whether a call refuses its value: by an error of ours, or one that begins with the name of the parameter."""
    try:
        call()
    except QueuectlError:
        return True
    except (TypeError, ValueError) as error:
        assert str(error).startswith(tuple(f"{name}:" for name in names)), repr(error)
        return True
    return False


@pytest.mark.parametrize("verb", ["get", "runs", "cancel", "retry", "wait"])
def test_an_id_is_a_string(spool, verb):
    more = {"timeout": 0} if verb == "wait" else {}

    for value in [*VALUES, None]:
        assert refused(lambda value=value: getattr(spool, verb)(value, **more), "id")
    with pytest.raises(TypeError, match="^id: must be a string, not int"):
        getattr(spool, verb)(5, **more)


def test_the_other_parameters_say_what_they_take(spool):
    for value in VALUES:
        refused(lambda value=value: list(spool.jobs(value)), "state")
        refused(lambda value=value: list(spool.jobs(limit=value)), "limit")
        refused(lambda value=value: spool.wait_all(value, timeout=0), "ids", "id")
        refused(lambda value=value: spool.wait_all([], timeout=value), "timeout")
        if not callable(value):
            assert refused(lambda value=value: spool.consume(stop=value), "stop")
        refused(lambda value=value: spool.consume(limit=value).close(), "limit")
        refused(lambda value=value: Spool(value).exists(), "path")
        refused(lambda value=value: Spool(spool.path, value).settings(), "flags")
        refused(lambda value=value: Spool(spool.path, {"max_retries": value}).settings(), "flags")
        refused(lambda value=value: Spool(spool.path, {"retry-after-codes": value}), "flags")
    with pytest.raises(TypeError, match="^ids: must be a list of strings, not a string"):
        spool.wait_all("abc")
    with pytest.raises(TypeError, match="^limit: must be a whole number, not a boolean"):
        spool.jobs(limit=True)
    with pytest.raises(QueuectlError, match="^timeout: must be seconds"):
        spool.wait_all([], timeout=object())
    with pytest.raises(QueuectlError, match="a setting is named by a string"):
        Spool(spool.path, {5: 5})


def test_a_schedule_of_a_program_is_checked_in_each_field(spool):
    good = {"every": 60, "job": {"command": "true"}}
    with_cron = {"cron": "@daily", "job": {"command": "true"}}
    records = [({**good, "every": 60}, key) for key in ("every", "catch_up", "job", "created_at")]
    records += [(with_cron, "cron"), (with_cron, "zone")]

    def add(name, schedule):
        timetable.add(spool, name, schedule)
        timetable.read(spool, timetable.find(spool, name))
        timetable.remove(spool, name)

    for value in VALUES:
        for record, key in records:
            refused(lambda record={**record, key: value}: add("a", record))
        refused(lambda value=value: add("a", value))
        refused(lambda value=value: add(value, good))
        refused(lambda value=value: timetable.find(spool, value))
    assert not refused(lambda: add("a", {**good, "job": {"command": ("x", Path("y"))}}))


@pytest.mark.parametrize(
    ("verb", "value", "reason"),
    [
        ("fail", 5, "TypeError: reason: must be a string, not int"),
        ("fail", b"x", "TypeError: reason: must be a string, not bytes"),
        ("fail", object(), "TypeError: reason: must be a string, not object"),
        ("retry", math.nan, "ValueError: after: must be between 0"),
        ("retry", True, "ValueError: after: must be seconds"),
        ("retry", [], "ValueError: after: must be seconds"),
        ("retry", dt.timedelta(-1), "ValueError: after: must be between 0"),
        ("retry", dt.timedelta(0), "asked for another attempt"),
    ],
)
def test_a_consumer_that_says_nonsense_fails_its_job_with_a_reason(spool, verb, value, reason):
    spool.enqueue("true", id="a")
    for job in spool.consume(wait=False, limit=1):
        with job:
            getattr(job, verb)(value)

    [run] = spool.runs("a")
    assert run.outcome == "failed"
    assert run.reason.startswith(reason)


# -- what is sensible, and works


def contents(spool):
    [entry] = spool.entries("pending")
    return parse(Path(spool.at(entry.file)).read_bytes())


@pytest.mark.parametrize(
    ("job", "command"),
    [
        (("ls", "-l"), ("ls", "-l")),
        (["cat", Path("a b"), Path("/c")], ("cat", "a b", "/c")),
        (Path("/bin/true"), ("/bin/true",)),
        ({"command": (Path("x"), "y")}, ("x", "y")),
        (Word.X, "x"),
        ([Word.X], ("x",)),
    ],
)
def test_what_python_calls_a_command_is_one(spool, job, command):
    spool.enqueue(job)

    assert contents(spool).command == command


def test_a_job_may_be_all_keywords(spool):
    assert spool.enqueue(command="true", id="a") == "a"
    assert spool.enqueue(command=["true", Path("x")], id="b") == "b"
    assert spool.enqueue({"command": "false", "id": "c"}, command="true") == "c"
    assert [spool.get(id).command for id in "abc"] == ["true", ("true", "x"), "true"]
    for call in (lambda: spool.enqueue("true", command="false"), lambda: spool.enqueue(id="x")):
        with pytest.raises(InvalidJob, match="^command: is (given twice|missing)"):
            call()
    with pytest.raises(NoSuchJob):
        spool.get("x")


def test_an_enum_is_the_value_that_it_has(spool):
    spool.enqueue("true", id=Word.X, priority=Number.FIVE, success_codes=[Number.FIVE])

    [entry] = spool.entries("pending")
    assert entry.file.endswith("-p5-a0-x.json")
    assert contents(spool).success_codes == (5,)


def test_times_may_be_those_of_python_wherever_they_stand(spool):
    spool.enqueue({"command": "true", "run_at": ZONED, "timeout": dt.timedelta(minutes=1)})

    assert (contents(spool).run_at, contents(spool).timeout) == (ZONED.timestamp(), 60)
    assert spool.wait_all([], timeout=dt.timedelta(0)) == spool.wait_all([], timeout="1s") == []


def test_a_path_is_the_directory_and_never_the_input(spool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spool.enqueue("true", cwd=Path("sub"))

    assert contents(spool).cwd == os.path.join(os.getcwd(), "sub")
    for field in ("stdin", "name"):
        with pytest.raises(InvalidJob, match=f"^{field}: must be a string, not PosixPath"):
            spool.enqueue("true", **{field: Path("sub")})
