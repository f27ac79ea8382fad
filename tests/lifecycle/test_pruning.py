"""Supervisors prune from time to time: one of them, and nobody waits for it."""

import os
import re
import time

import pytest

from queuectl import Spool, actions, janitor
from queuectl.filename import MOST_ATTEMPTS, Name, encode
from tests.support import Workers, names, until


@pytest.fixture
def old(queuectl, path):
    """Jobs that completed in 1970."""

    def old(*ids):
        queuectl("init")
        spool = Spool(path)
        for id in ids:
            spool.enqueue({"command": "true", "id": id})
            [entry] = spool.entries_of(id)
            spool.move(entry, "completed", Name(1.0, 5, 1, id))

    return old


def test_a_supervisor_prunes_at_once_and_says_so_only_if_there_was_something(path, old):
    old("a", "b")
    with Workers(path) as workers:
        [event] = until(lambda: workers.events("pruned"))
    assert (event["completed"], event["dead"]) == (2, 0)
    assert names(path, "completed") == names(path, "ids") == []
    [mark] = path.glob("pruned.*")
    assert re.fullmatch(r"by \S+ at \S+Z\n", mark.read_text())
    with Workers(path) as workers:
        workers.up()
    assert workers.events("pruned") == []


def test_it_prunes_again_when_the_interval_is_over(path, old):
    with Workers(path, "--set", "prune_interval=0.5", "--set", "heartbeat_interval=0.5") as workers:
        workers.up()
        first = until(lambda: list(path.glob("pruned.*")))[0]
        old("a")
        until(lambda: names(path, "completed") == [])
        assert workers.events("worker_died") == []
    assert first not in path.glob("pruned.*")


def test_it_prunes_never_if_the_interval_is_0(path, old):
    old("a")
    with Workers(path, "--set", "prune_interval=0", "--set", "heartbeat_interval=0.5") as workers:
        workers.up()
        os.utime(path / "workers" / f"{workers.records()[0]['worker']}.json", (0, 0))
        until(
            lambda: all(file.stat().st_mtime > 0 for file in (path / "workers").glob("*.json"))
        )  # a heartbeat later
    assert len(names(path, "completed")) == 1
    assert not list(path.glob("pruned.*"))


def test_of_many_who_ask_one_prunes(spool, path):
    (path / "pruned.6").touch()
    go, pids = path.parent / "go", []
    for _ in range(20):
        pid = os.fork()
        if not pid:
            while not go.exists():
                pass
            os._exit(janitor.take_turn(spool, 7))
        pids.append(pid)
    go.touch()

    assert sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids) == 1

    assert [file.name for file in path.glob("pruned.*")] == ["pruned.7"]


def test_a_spool_without_its_version_that_was_pruned_is_still_ours(spool, path):
    janitor.take_turn(spool, 7)
    (path / "spool.json").unlink()

    Spool(path).make()


def test_prune_keeps_the_newest_by_count_and_the_young_by_age(spool, path):
    now = time.time()
    for n in range(6):
        spool.enqueue({"command": "true", "id": f"j{n}"})
        [entry] = spool.entries_of(f"j{n}")
        spool.move(entry, "completed", Name(now - 100 * n, 9 - n, 1, f"j{n}"))
    settings = spool.settings()._replace(keep_completed=350.0, keep_completed_count=5)

    assert actions.prune(spool, settings, now)["completed"] == 2

    assert sorted(entry.name.id for entry in spool.entries("completed")) == ["j0", "j1", "j2", "j3"]


def test_ages_that_begin_before_1970_prune_nothing(queuectl, spool):
    spool.enqueue({"command": "true", "id": "a"})
    for name in ("keep-completed", "keep-dead", "keep-events"):
        queuectl("config", "set", name, "36500d")

    assert queuectl("prune") == "removed 0 completed, 0 dead, 0 rejected\n"


def test_a_record_that_counts_more_attempts_than_a_name_can_is_not_walked_to(spool):
    for attempt in ('"x"', "null", "1e300", str(10**18)):
        with open(spool.at("results", "a.jsonl"), "a") as file:
            file.write(f'{{"claim": "processing/w/x.json", "attempt": {attempt}}}\n')

    assert sum(1 for _ in spool.logs("a", 2)) == 2 * MOST_ATTEMPTS


def test_prune_leaves_what_only_looks_like_a_job(spool, path):
    other = encode(Name(1.0, 5, 1, "a")).replace("19700101", "19700231")
    for name in (other, "notes.txt", "19700101.json"):
        (path / "completed" / name).write_text("{}")

    assert actions.prune(spool, spool.settings(), time.time())["completed"] == 0

    assert len(names(path, "completed")) == 3


def test_prune_removes_logs_of_workers_that_ended_long_ago_and_no_others(spool, path):
    long_ago = ("workers-mars-20260101T000000-1.log", "workers-mars-20260101T000000-1.log.3")
    others = ("workers-mars.log.1.out", "workers-x.1.err", "a.1.out")
    for name in (*long_ago, *others):
        (path / "logs" / name).touch()
        os.utime(path / "logs" / name, (1, 1))
    (path / "logs" / "workers-now.log").touch()

    assert actions.prune(spool, spool.settings(), time.time())["logs"] == 2

    assert set(os.listdir(path / "logs")) == {*others, "workers-now.log"}
