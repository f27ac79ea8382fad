"""Pausing: no job begins, those that run go on, and resuming is noticed at once."""

import json

import pytest

from tests.support import Workers, ids_in, until


@pytest.fixture
def workers(queuectl, path):
    queuectl("config", "set", "poll_interval", "3600")
    with Workers(path, "--count", "2") as workers:
        workers.up(2)
        yield workers


def test_no_job_begins_while_the_spool_is_paused_and_resuming_is_noticed_at_once(
    queuectl, path, workers
):
    queuectl("enqueue", "--id", "first", "-c", "true")
    until(lambda: ids_in(path, "completed") == ["first"])
    queuectl("pause")
    for number in range(3):
        queuectl("enqueue", "--id", f"job-{number}", "-c", "true")
    (path / "pending" / "drop.json").write_text(json.dumps({"command": "true", "id": "drop"}))
    status = queuectl.json("status")
    assert (status["paused"], status["jobs"]["pending"], status["jobs"]["completed"]) == (
        True,
        4,
        1,
    )
    assert "paused" in queuectl("status")
    assert len(workers.events("started")) == 1

    queuectl("resume")

    until(lambda: len(ids_in(path, "completed")) == 5)
    assert queuectl.json("status")["paused"] is False


def test_a_job_that_runs_goes_on_and_cancelling_works_while_the_spool_is_paused(
    queuectl, path, tmp_path, workers
):
    queuectl("enqueue", "--id", "a", "-c", f"until test -e {tmp_path}/go; do sleep 0.02; done")
    queuectl("enqueue", "--id", "b", "-c", "sleep 600")
    until(lambda: ids_in(path, "processing") == ["a", "b"])
    queuectl("pause")
    (tmp_path / "go").touch()
    queuectl("cancel", "b")
    until(lambda: ids_in(path, "completed") == ["a"] and ids_in(path, "dead") == ["b"])


def test_workers_that_start_on_a_paused_spool_wait_for_it_to_be_resumed(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    queuectl("pause")
    queuectl("config", "set", "poll_interval", "3600")
    with Workers(path, "--drain") as workers:
        workers.up()
        assert workers.events("started") == []
        queuectl("resume")
        assert workers.process.wait(30) == 0
    assert ids_in(path, "completed") == ["a"]


def test_pausing_and_resuming_twice_is_said(queuectl, path):
    queuectl("init")
    assert "was not paused" in queuectl.run("resume").stderr
    assert queuectl.run("pause").stderr == "paused\n"
    assert "already" in queuectl.run("pause").stderr
    assert (path / "paused").read_text().startswith("by ")
    assert queuectl("doctor") == "healthy\n"
    assert queuectl.run("resume").stderr == "resumed\n"
    assert not (path / "paused").exists()
