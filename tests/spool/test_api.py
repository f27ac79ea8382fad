"""The library: enqueueing by keywords, looking, waiting."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import queuectl
from queuectl import (
    IdTaken,
    InvalidJob,
    Job,
    NoSuchJob,
    Spool,
    TimedOut,
    WrongState,
    errors,
)
from queuectl.errors import SpoolMissing, Wrong
from tests.support import Workers, names, until


def contents(path, state="pending"):
    [name] = names(path, state)
    return json.loads((path / state / name).read_text())


def test_keywords_are_the_fields_of_a_job(spool, path):
    spool.enqueue(
        "echo hi",
        id="a",
        priority=9,
        delay="10m",
        name="n",
        env={"A": "1"},
        meta={"x": [1]},
        max_retries=2,
        cwd=path,
    )

    record = contents(path)
    assert record.pop("created_at")
    assert record == {
        "command": "echo hi", "id": "a", "priority": 9, "delay": 600.0, "name": "n", "env": {"A": "1"}, "meta": {"x": [1]},
        "max_retries": 2, "cwd": str(path),
    }  # fmt: skip
    assert "-p9-a0-a.json" in names(path, "pending")[0]


@pytest.mark.parametrize("job", ["true", ["true"], {"command": "true"}, Job("true")])
def test_keywords_stand_beside_every_form_of_a_job(spool, path, job):
    spool.enqueue(job, priority=7)

    assert contents(path)["priority"] == 7


def test_a_keyword_beats_the_field_and_none_says_nothing(spool, path):
    spool.enqueue(
        {"command": "true", "priority": 1, "delay": 5, "name": "n"},
        priority=8,
        run_at="2100-01-01T00:00:00Z",
        name=None,
    )

    record = contents(path)
    assert (record["priority"], record["run_at"], record["name"]) == (
        8,
        "2100-01-01T00:00:00.000000Z",
        "n",
    )
    assert "delay" not in record


def test_times_of_python_are_times(spool, path):
    spool.enqueue("true", run_at=datetime(2100, 1, 1, tzinfo=UTC), timeout=timedelta(minutes=5))

    assert (contents(path)["run_at"], contents(path)["timeout"]) == (
        "2100-01-01T00:00:00.000000Z",
        300.0,
    )


def test_a_time_without_a_zone_is_refused_and_so_is_a_keyword_that_is_no_field(spool, path):
    with pytest.raises(InvalidJob, match="names no zone"):
        spool.enqueue("true", run_at=datetime(2100, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidJob, match="did you mean 'priority'"):
        spool.enqueue("true", priorty=1)
    assert names(path, "pending") == []


def test_a_taken_id_is_refused(spool):
    spool.enqueue("true", id="a")

    with pytest.raises(IdTaken):
        spool.enqueue("true", id="a")


def test_jobs_come_in_the_order_of_the_list_and_say_what_they_are(spool, path):
    spool.enqueue("later", id="later", run_at=datetime(2100, 1, 1, tzinfo=UTC))
    spool.enqueue(["urgent", "x"], id="urgent", priority=9, name="n", meta={"m": 1})
    spool.enqueue("usual", id="usual")
    spool.move(next(spool.entries_of("usual")), "dead", next(spool.entries_of("usual")).name)

    found = list(spool.jobs())
    assert [(job.id, job.state) for job in found] == [
        ("urgent", "pending"),
        ("later", "pending"),
        ("usual", "dead"),
    ]
    urgent = found[0]
    assert (urgent.command, urgent.name, urgent.meta, urgent.priority, urgent.attempts) == (
        ("urgent", "x"),
        "n",
        {"m": 1},
        9,
        0,
    )
    assert found[1].due == datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    assert found[2].due is None
    assert [job.id for job in spool.jobs("dead")] == ["usual"]
    assert [job.id for job in spool.jobs(["dead", "pending"], limit=1)] == ["urgent"]
    assert list(spool.jobs(limit=0)) == []


def test_jobs_are_read_when_their_turn_comes(spool, path):
    for id in ("a", "b", "c"):
        spool.enqueue("true", id=id)
    found = spool.jobs("pending")
    assert next(found).id == "a"

    (path / "pending" / names(path, "pending")[1]).unlink()

    assert [job.id for job in found] == ["c"]


def test_a_file_that_cannot_be_read_hides_no_other(spool, path):
    (path / "pending" / "20260101T000000.000000Z-p5-a0-broken.json").write_text("garbage")
    spool.enqueue("true", id="a")

    assert [(job.id, job.command) for job in spool.jobs()] == [("broken", None), ("a", "true")]


def test_wrong_words_are_refused_at_once(spool):
    with pytest.raises(Wrong, match="no state 'gone'"):
        spool.jobs("gone")
    with pytest.raises(Wrong, match="negative"):
        spool.jobs(limit=-1)
    with pytest.raises(Wrong, match="negative"):
        spool.consume(limit=-1)


def test_looking_makes_no_spool(path):
    for look in (
        lambda: Spool(path).jobs(),
        lambda: Spool(path).get("a"),
        lambda: Spool(path).wait("a"),
        lambda: Spool(path).runs("a"),
    ):
        with pytest.raises(SpoolMissing):
            look()
    assert not path.exists()


def test_waiting_says_how_each_job_ended(spool, path):
    spool.enqueue("echo fine", id="good")
    spool.enqueue("echo oh no >&2; exit 7", id="bad", max_retries=1)
    with Workers(path):
        bad, good = spool.wait_all(["bad", "good"])

    assert good.is_completed
    assert (good.code, good.exit_code, good.reason, good.stdout_tail, good.attempts) == (
        0,
        0,
        None,
        "fine\n",
        1,
    )
    assert not bad.is_completed
    assert (bad.state, bad.code, bad.exit_code, bad.reason, bad.stderr_tail) == (
        "dead",
        7,
        7,
        "exit code 7",
        "oh no\n",
    )
    assert spool.wait("good") == good
    [run] = spool.runs("bad")
    assert (run.outcome, run.superseded) == ("failed", False)
    assert run.finished_at - run.started_at == pytest.approx(run.duration, abs=0.001)


def test_a_job_is_cancelled_and_brought_back_by_its_id(spool, path, tmp_path):
    spool.enqueue(f"echo >> {tmp_path}/ran; test -e {tmp_path}/go || exec sleep 60", id="a")
    spool.enqueue("true", id="b", delay=60)

    assert spool.cancel("b")
    with Workers(path):
        until((tmp_path / "ran").exists)
        assert not spool.cancel("a")
        assert spool.wait("a", timeout=60).outcome == "cancelled"
        (tmp_path / "go").touch()
        spool.retry("a")
        assert spool.wait("a", timeout=60).is_completed
        with pytest.raises(WrongState, match="completed"):
            spool.retry("a")
        spool.retry("a", again=True)
        until(lambda: len(spool.runs("a")) == 3)
    assert (spool.get("a").state, spool.get("b").state) == ("completed", "dead")
    assert (tmp_path / "ran").read_text() == "\n" * 3


def test_what_cannot_be_cancelled_or_retried_is_refused_and_stays(spool, path):
    spool.enqueue("true", id="a")

    with pytest.raises(WrongState, match="only a failed or a dead one is retried"):
        spool.retry("a", again=True)
    with pytest.raises(NoSuchJob):
        spool.retry("b")
    assert spool.cancel("a")
    with pytest.raises(WrongState, match="dead already"):
        spool.cancel("a")
    assert len(names(path, "dead")) == 1


def test_waiting_too_long_names_those_that_have_not_ended(spool):
    spool.enqueue("true", id="a")
    spool.enqueue("true", id="b")
    [entry] = spool.entries_of("b")
    spool.move(entry, "completed", entry.name._replace(time=1.0))

    with pytest.raises(TimedOut) as caught:
        spool.wait_all(["a", "b"], timeout=0)
    assert caught.value.ids == ["a"]
    assert isinstance(caught.value, TimeoutError)
    assert str(caught.value).startswith("not ended after 0 s: a;")


def loaded(code):
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        name
        for name in out.stdout.split()
        if name.startswith("queuectl") or name in ("threading", "logging", "traceback", "typing")
    }


def test_importing_the_package_loads_nothing_of_it():
    assert loaded("import queuectl") == {"queuectl"}


def test_a_program_that_enqueues_loads_nothing_that_looks_or_consumes(path):
    modules = loaded(
        f"from queuectl import Spool; Spool({str(path)!r}).enqueue('true', priority=9)"
    )

    assert not modules & {"threading", "logging", "traceback"}
    assert not {name.partition(".")[2] for name in modules} & {
        "lookup",
        "actions",
        "consumer",
        "heart",
        "recovery",
        "testing",
        "cli",
    }


def test_every_public_name_is_there():
    for name in queuectl.__all__:
        assert getattr(queuectl, name)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = queuectl.Nonsense


def test_types_are_shipped():
    assert os.path.exists(os.path.join(os.path.dirname(queuectl.__file__), "py.typed"))


def test_every_error_can_be_imported_from_the_package_and_is_in_the_page_of_python():
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.QueuectlError)
    }
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text()

    assert len(kinds) > 20
    assert {name: getattr(queuectl, name) for name in kinds} == kinds
    assert [name for name in kinds if name not in queuectl.__all__ or f"`{name}" not in page] == []


def test_importing_the_package_loads_no_part_of_it():
    code = "import sys, queuectl; print([m for m in sys.modules if m.startswith('queuectl.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
