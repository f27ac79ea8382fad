"""Pausing: no job begins, those that run go on, and resuming is noticed at once."""

import json
import subprocess
import sys

import pytest

from queuectl import actions
from queuectl.cli import show
from tests.support import Workers, environment, ids_in, until


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


def test_workers_that_start_on_a_paused_spool_wait_for_it_to_be_resumed_and_say_so(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    queuectl("pause")
    queuectl("config", "set", "poll_interval", "3600")
    with Workers(path, "--drain") as workers:
        workers.up()
        [event] = until(lambda: workers.events("paused"))
        assert "nothing starts until 'queuectl resume'" in event["reason"]
        assert workers.events("started") == []
        queuectl("resume")
        assert workers.process.wait(30) == 0
        assert len(workers.events("paused")) == len(workers.events("resumed")) == 1
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


def test_workers_say_each_time_that_the_spool_is_paused_and_resumed(queuectl, path, workers):
    for times in (1, 2):
        queuectl("pause")
        queuectl("enqueue", "-c", "true")
        until(lambda times=times: len(workers.events("paused")) == times)
        queuectl("resume")
        until(lambda times=times: len(workers.events("resumed")) == times)


NOTE = "queuectl: note: the spool is paused; nothing starts until 'queuectl resume'\n"

WAITS = [
    ["wait", "a"],
    ["wait", "a", "--json"],
    ["wait", "--batch", "b"],
    ["wait", "--state", "pending"],
    ["logs", "-f", "a"],
    ["run", "--id", "mine", "-c", "true"],
]


@pytest.fixture
def waits(queuectl, path):
    """A command that waits, and its stderr so far."""
    queuectl("enqueue", "--id", "a", "-c", "true", "--batch", "b")
    started = []

    def start(words):
        log = path.parent / "stderr"
        with log.open("wb") as err:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "queuectl", *words],
                    env=environment(path),
                    stdout=subprocess.DEVNULL,
                    stderr=err,
                )
            )
        return started[-1], log.read_text

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("words", WAITS, ids=" ".join)
def test_whoever_waits_on_a_paused_spool_is_told_once_and_goes_on_waiting(
    queuectl, path, waits, words
):
    queuectl("pause")
    process, said = waits(words)
    until(lambda: NOTE in said())

    queuectl("resume")
    with Workers(path):
        assert process.wait(30) == 0
    assert said().count(NOTE) == 1


@pytest.mark.parametrize("words", WAITS[:1] + WAITS[2:3] + WAITS[4:], ids=" ".join)
def test_whoever_waits_is_told_when_the_spool_becomes_paused(queuectl, waits, words):
    _, said = waits(words)
    queuectl("pause")
    until(lambda: said().count(NOTE) == 1)


def test_a_pause_that_comes_again_is_told_again(queuectl, spool, capsys):
    pause = show.Pause(spool)
    for times in (1, 2):
        actions.pause(spool)
        pause.look()
        pause.look()
        assert capsys.readouterr().err == NOTE, times
        actions.resume(spool)
        pause.look()


def test_nobody_is_told_of_a_pause_that_delays_nothing(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "echo said")
    queuectl("worker", "start", "--drain")
    queuectl("pause")

    assert queuectl.run("wait", "a").stderr == "a completed\n"
    assert queuectl.run("logs", "-f", "a").stderr == ""
