"""Limits, keys and dependencies with real workers, killed ones among them."""

import json
import multiprocessing
import os
import signal

import pytest

from queuectl import Spool, limits
from queuectl.errors import KeyTaken
from tests.support import Workers, ids_in, until

#: A job that takes one of the places a0..a9 in its directory for as long as it runs, and notes how many are taken then.
CROWD = """
for n in 0 1 2 3 4 5 6 7 8 9; do mkdir {room}/a$n 2>/dev/null && break; done
ls {room} | wc -l >> {log}
sleep 0.02
rmdir {room}/a$n
"""


def crowd(tmp_path):
    """The command of jobs that must not be many at once, and a function that answers how many there were at most, and runs."""
    room, log = tmp_path / "room", tmp_path / "crowds"
    room.mkdir()
    log.touch()
    return CROWD.format(room=room, log=log), lambda: (
        max(map(int, log.read_text().split())),
        len(log.read_text().split()),
    )


def test_a_limit_holds_among_two_supervisors_and_does_not_keep_others_from_running(
    queuectl, path, tmp_path
):
    command, crowds = crowd(tmp_path)
    queuectl("config", "set", "limit.few", "2")
    Spool(path).enqueue_all([{"command": command, "limit": "few", "priority": 9}] * 40)
    Spool(path).enqueue_all([{"command": f"ls {path}/completed | wc -l >> {tmp_path}/others"}] * 20)

    with (
        Workers(path, "--count", "3", "--drain") as one,
        Workers(path, "--count", "3", "--drain") as two,
    ):
        assert (one.process.wait(50), two.process.wait(50)) == (0, 0)

    assert crowds() == (2, 40)
    assert len(ids_in(path, "completed")) == 60
    assert limits.free(Spool(path), "few") == ["1", "2"]
    # They came later in the order, but had no limit.
    assert min(map(int, (tmp_path / "others").read_text().split())) < 40


def test_a_killed_workers_token_comes_back_and_the_limit_holds(queuectl, path, tmp_path):
    queuectl("config", "set", "limit.few", "2")
    flag = tmp_path / "go"
    queuectl(
        "enqueue",
        "-",
        input="\n".join(
            json.dumps({"command": f"until test -e {flag}; do sleep 0.02; done", "limit": "few"})
            for _ in range(5)
        ),
    )
    with Workers(path, "--count", "3") as workers:
        workers.up(3)
        until(lambda: len(ids_in(path, "processing")) == 2 and len(ids_in(path, "blocked")) == 3)
        busy = next(
            record
            for record in workers.records()
            if any((path / "processing" / record["worker"]).glob("*.token"))
        )
        os.kill(busy["pid"], signal.SIGKILL)
        until(lambda: workers.events("rescued"))
        until(lambda: len(list((path / "processing").glob("*/few.*.token"))) == 2)
        until(lambda: len(ids_in(path, "processing")) == 2)
        flag.touch()
        until(lambda: len(ids_in(path, "completed")) == 5)
    assert limits.free(Spool(path), "few") == ["1", "2"]


def test_a_raised_limit_is_used_at_once(queuectl, path):
    for number in range(3):
        queuectl("enqueue", json.dumps({"id": f"j{number}", "command": "sleep 600", "limit": "x"}))
    queuectl("config", "set", "poll_interval", "3600")
    with Workers(path, "--count", "3"):
        until(lambda: len(ids_in(path, "blocked")) == 2)

        queuectl("config", "set", "limit.x", "3")

        until(lambda: len(ids_in(path, "processing")) == 3)


def test_a_limit_is_not_a_setting_of_one_supervisor(queuectl):
    assert "whole spool" in queuectl.refusal("worker", "start", "--set", "limit.x=3", code=2)


def race(path, key, start, won):
    """One of many who enqueue a job with one key at once."""
    start.wait()
    try:
        won.put(Spool(path).enqueue({"command": "true", "unique": key}))
    except KeyTaken:
        won.put(None)


def test_of_many_who_enqueue_one_key_at_once_one_wins(path):
    Spool(path).make()
    context = multiprocessing.get_context("fork")
    start, won = context.Barrier(12), context.Queue()
    racers = [context.Process(target=race, args=(path, "key", start, won)) for _ in range(12)]
    for racer in racers:
        racer.start()
    ids = [won.get(timeout=30) for _ in racers]
    for racer in racers:
        racer.join()

    assert len([id for id in ids if id]) == 1
    assert ids_in(path, "pending") == [id for id in ids if id]


def test_a_key_is_free_again_as_soon_as_its_job_has_ended(queuectl, path):
    queuectl("enqueue", '{"command": "true", "unique": "reindex", "id": "a"}')
    assert "held by job a, which is pending" in queuectl.refusal(
        "enqueue", '{"command": "true", "unique": "reindex"}', code=4
    )
    with Workers(path) as workers:
        workers.up()
        until(lambda: ids_in(path, "completed") == ["a"])
        until(
            lambda: (
                queuectl.run(
                    "enqueue", '{"command": "true", "unique": "reindex", "id": "b"}'
                ).returncode
                == 0
            )
        )
        until(lambda: ids_in(path, "completed") == ["a", "b"])


def test_a_graph_of_jobs_runs_in_its_order_on_two_supervisors(queuectl, path, tmp_path):
    """A diamond of layers: each job of a layer waits for all of the layer before."""
    log, jobs, before = tmp_path / "order", [], []
    for layer in range(5):
        ids = [f"l{layer}-{number}" for number in range(4)]
        jobs += [{"id": id, "command": f"echo {layer} >> {log}", "after": before} for id in ids]
        before = ids
    queuectl("enqueue", "-", input="\n".join(map(json.dumps, reversed(jobs))))

    with (
        Workers(path, "--count", "2", "--drain") as one,
        Workers(path, "--count", "2", "--drain") as two,
    ):
        assert (one.process.wait(50), two.process.wait(50)) == (0, 0)

    assert len(ids_in(path, "completed")) == 20
    assert log.read_text().split() == sorted(log.read_text().split())
    assert not list((path / "blocked").glob("*"))


def test_the_dead_take_those_that_wait_for_them_along(queuectl, path):
    for id, after in (
        ("a", {}),
        ("b", {"after": "a"}),
        ("c", {"after": "b"}),
        ("d", {"after_failed": "a"}),
        ("e", {"after_any": ["a", "b"]}),
    ):
        queuectl(
            "enqueue",
            json.dumps(
                {"id": id, "command": "false" if id == "a" else "true", "max_retries": 1, **after}
            ),
        )

    queuectl("worker", "start", "--count", "2", "--drain")

    assert ids_in(path, "dead") == ["a", "b", "c"]
    assert ids_in(path, "completed") == ["d", "e"]
    reasons = {record["id"]: record["reason"] for record in queuectl.json("dlq", "list")}
    assert reasons["b"] == "job a, after which it was to run, died"
    assert reasons["c"] == "job b, after which it was to run, died"


@pytest.mark.parametrize(
    ("fields", "settings", "state", "attempts"),
    [
        ({"command": "exit 99", "success_codes": [0, 99]}, {}, "completed", 1),
        ({"command": "exit 99"}, {"success_codes": "0,99"}, "completed", 1),
        ({"command": "exit 0", "success_codes": [1]}, {}, "failed", 1),
        ({"command": "exit 100", "no_retry_codes": [100]}, {}, "dead", 1),
        ({"command": "exit 100"}, {"no_retry_codes": "100"}, "dead", 1),
        ({"command": "exit 100", "no_retry_codes": []}, {"no_retry_codes": "100"}, "failed", 1),
        ({"command": "exit 75", "retry_after_codes": {"75": 0}}, {}, "dead", 3),
    ],
)
def test_exit_codes_mean_what_the_job_says_or_else_the_settings(
    queuectl, path, fields, settings, state, attempts
):
    for name, value in settings.items():
        queuectl("config", "set", name, value)
    queuectl("enqueue", json.dumps({"id": "a", **fields}))
    with Workers(path):
        until(lambda: ids_in(path, state) == ["a"])
    assert queuectl.json("show", "a")["attempts"] == attempts


def test_a_temporary_failure_waits_for_its_own_time(queuectl, path):
    queuectl("config", "set", "retry_after_codes", "75=2h")
    queuectl("enqueue", '{"id": "a", "command": "exit 75"}')
    with Workers(path):
        until(lambda: ids_in(path, "failed") == ["a"])
    [record] = queuectl.json("list")
    assert record["waits"].startswith("due in ")
    assert record["waits"].endswith("(attempt 2 of 3)")
    assert "due in 1h (attempt 2 of 3)" in queuectl("list")


def test_exit_codes_are_checked(queuectl):
    assert "no exit code" in queuectl.refusal(
        "enqueue", '{"command": "true", "success_codes": [256]}', code=2
    )
    assert "no exit code" in queuectl.refusal("config", "set", "no_retry_codes", "x", code=2)
    queuectl("config", "set", "retry_after_codes", "75=10m 76=1h")
    assert queuectl.json("config", "get", "retry_after_codes") == {"75": "10m", "76": "1h"}
