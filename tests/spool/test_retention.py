"""What is waited for is not pruned, wherever the job is that waits, and whoever enqueues one meanwhile."""

import json
import multiprocessing
import os
import time

import pytest

from queuectl import InvalidJob, Spool, actions, admission, blocked, disk, inbox
from queuectl.config import Settings
from queuectl.filename import Name
from tests.support import ids_in, names

ME = "me-1-abc"


@pytest.fixture
def old(spool):
    """old(id): a job that completed, or died, in 1970."""

    def old(*ids, state="completed"):
        for id in ids:
            spool.enqueue({"command": "true", "id": id})
            [entry] = spool.entries_of(id)
            spool.move(entry, state, Name(1.0, 5, 1, id))

    return old


def prune(spool):
    pruned = actions.prune(spool, Settings(), time.time())
    return pruned["completed"], pruned["dead"]


def bring(spool, path, id, state):
    """Move a job to a state, as workers would."""
    [entry] = spool.entries_of(id)
    inner = {"processing": ME, "blocked": "after.other"}.get(state, "")
    (path / state / inner).mkdir(parents=True, exist_ok=True)
    os.rename(path / entry.file, path / state / inner / os.path.basename(entry.file))


@pytest.mark.parametrize("state", ["held", "pending", "processing", "blocked", "failed"])
@pytest.mark.parametrize("field", ["after", "after_any"])
def test_what_a_job_waits_for_stays_until_that_job_has_ended(spool, path, old, state, field):
    old("first", "second", "other")
    spool.enqueue({"command": "true", "id": "waits", field: ["first", "second"], "delay": "1h"})
    bring(spool, path, "waits", state)

    assert prune(spool) == (1, 0)
    assert ids_in(path, "completed") == ["first", "second"]

    bring(spool, path, "waits", "dead")
    assert prune(spool) == (2, 0)


def test_a_dead_job_stays_while_another_waits_for_its_death(spool, path, old):
    old("first", "other", state="dead")
    spool.enqueue({"command": "true", "id": "waits", "after_failed": "first"}, hold=True)

    assert prune(spool) == (0, 1)
    assert ids_in(path, "dead") == ["first"]


def test_what_is_too_many_stays_as_well(spool, path, old):
    old("first", "second")
    spool.enqueue({"command": "true", "after": "first"}, hold=True)

    actions.prune(spool, Settings(keep_completed=1e12, keep_completed_count=0), time.time())

    assert ids_in(path, "completed") == ["first"]


@pytest.mark.parametrize("place", ["pending/x.json", f"processing/{ME}/x.json"])
@pytest.mark.parametrize("key", ["after", "\\u0061fter"])
def test_what_a_drop_waits_for_stays(spool, path, old, place, key):
    old("first")
    spool.need("blocked")
    (path / place).parent.mkdir(exist_ok=True)
    (path / place).write_text(f'{{"command": "true", "{key}": "first"}}')

    assert prune(spool) == (0, 0)


def test_a_file_that_is_no_job_keeps_nothing_and_stops_nobody(spool, path, old):
    old("first")
    spool.need("blocked")
    for name, text in (("half.json", '{"after": "fir'), ("none.json", '{"after": "first"}')):
        (path / "pending" / name).write_text(text)
    (path / "pending" / "directory.json").mkdir()

    assert prune(spool) == (1, 0)


def test_where_no_job_ever_waited_no_file_is_read(spool, path, old, monkeypatch):
    old("first")
    spool.enqueue("true")
    real = disk.read
    monkeypatch.setattr(
        disk, "read", lambda path, most: pytest.fail(path) if ".json" in path else real(path, most)
    )

    assert prune(spool) == (1, 0)


def test_each_waiting_job_is_read_once(spool, path, old, monkeypatch):
    old("first", "second")
    spool.enqueue_all([{"command": "true", "after": "first"}] * 20)
    read, real = [], disk.read
    monkeypatch.setattr(disk, "read", lambda path, most: read.append(path) or real(path, most))

    prune(spool)

    assert len([path for path in read if "/pending/" in path]) == 20


def test_a_job_that_moves_while_it_is_looked_for_is_seen(spool, path, old, monkeypatch):
    old("first")
    spool.enqueue({"command": "true", "id": "waits", "after": "first"}, hold=True)
    real = disk.read

    def read(path_, most):
        """It goes back to where the look has been already."""
        if "waits" in path_:
            monkeypatch.setattr(disk, "read", real)
            bring(spool, path, "waits", "processing")
            bring(spool, path, "waits", "held")
            os.rename(
                path / "held" / names(path, "held")[0],
                path / "held" / names(path, "held")[0].replace("-p5-", "-p6-"),
            )
        return real(path_, most)

    monkeypatch.setattr(disk, "read", read)

    assert prune(spool) == (0, 0)


# -- jobs that come while a prune runs


@pytest.mark.parametrize("many", [False, True])
def test_a_job_that_comes_after_the_look_of_a_prune_is_refused(spool, path, old, monkeypatch, many):
    old("first")
    real, refused = blocked.awaited, []

    def awaited(spool, wanted):
        found = real(spool, wanted)
        job = {"command": "true", "id": "waits", "after": "first", "unique": "k"}
        with pytest.raises(InvalidJob, match="no job 'first'") as refusal:
            spool.enqueue_all([job]) if many else spool.enqueue(job)
        refused.append(refusal)
        return found

    monkeypatch.setattr(blocked, "awaited", awaited)

    assert prune(spool) == (1, 0)
    assert refused
    assert ids_in(path, "pending") == names(path, "tmp") == names(path, "ids") == []
    assert [name for name in names(path, "unique") if name != ".lock"] == []


@pytest.mark.parametrize("many", [False, True])
def test_what_a_job_waits_for_that_is_being_enqueued_stays(spool, path, old, monkeypatch, many):
    old("first")
    real, pruned = Spool.missing, []

    def missing(spool, ids):
        monkeypatch.setattr(Spool, "missing", real)
        pruned.append(prune(Spool(path)))
        return real(spool, ids)

    monkeypatch.setattr(Spool, "missing", missing)
    job = {"command": "true", "id": "waits", "after": "first"}
    spool.enqueue_all([job]) if many else spool.enqueue(job)

    assert pruned == [(0, 0)]
    assert (ids_in(path, "pending"), ids_in(path, "completed")) == (["waits"], ["first"])


def test_a_drop_that_is_judged_after_the_look_of_a_prune_is_not_admitted(
    spool, path, old, monkeypatch
):
    old("first")
    (path / "processing" / ME).mkdir()
    real = blocked.awaited

    def awaited(spool, wanted):
        found = real(spool, wanted)
        (path / "pending" / "x.json").write_text('{"command": "true", "after": "first"}')
        answer = admission.admit(spool, "x.json", ME, last=False)
        assert isinstance(answer, admission.Broken)
        return found

    monkeypatch.setattr(blocked, "awaited", awaited)

    assert prune(spool) == (1, 0)
    assert isinstance(admission.admit(spool, "x.json", ME, last=True), admission.Rejected)


def test_a_submission_whose_predecessor_goes_meanwhile_is_rejected(spool, path, old, monkeypatch):
    old("first")
    (path / "processing" / ME).mkdir()
    (path / "inbox").mkdir()
    (path / "inbox" / "x.json").write_text('{"command": "true", "after": "first"}')
    real = Spool.enqueue_as

    def enqueue_as(spool, job, id):
        prune(Spool(path))  # nothing in tmp/ or in a state names it yet
        return real(spool, job, id)

    monkeypatch.setattr(Spool, "enqueue_as", enqueue_as)

    assert isinstance(inbox.accept(spool, "inbox/x.json", ME, last=True), admission.Rejected)
    assert names(path, "pending") == []


def test_the_list_of_a_prune_that_died_refuses_nobody(spool, path, old):
    old("first")
    pid = os.fork()
    if not pid:
        with spool.dooming(["first"]):
            os._exit(0)
    os.waitpid(pid, 0)
    assert [name.endswith(".doomed") for name in names(path, "tmp")] == [True]

    spool.enqueue({"command": "true", "after": "first"})

    assert spool.sweep() == 1


def race(path, number, start, told):
    """Enqueue a job after one that another process prunes just now."""
    spool = Spool(path)
    start.wait()
    try:
        spool.enqueue({"command": "true", "id": f"w{number}", "after": f"x{number}"})
    except InvalidJob:
        pass
    told.put(None)


def test_no_job_is_enqueued_after_one_that_is_gone(spool, path, old):
    context = multiprocessing.get_context("fork")
    spool.need("blocked")
    for round in range(8):
        numbers = range(round * 4, round * 4 + 4)
        old(*(f"x{number}" for number in numbers))
        start, told = context.Barrier(5), context.Queue()
        racers = [context.Process(target=race, args=(path, n, start, told)) for n in numbers]
        for racer in racers:
            racer.start()
        start.wait()
        prune(spool)
        for racer in racers:
            told.get(timeout=30)
            racer.join()

    kept = set(ids_in(path, "completed"))
    waiting = [json.loads((path / "pending" / name).read_text()) for name in names(path, "pending")]
    assert {after for job in waiting for after in job["after"]} <= kept
