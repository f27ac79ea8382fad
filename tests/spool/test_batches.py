"""Batches: lists of ids, and how far their jobs are."""

import os
import time

import pytest

from queuectl import admission, batches, config, disk, results, tally, units
from queuectl.actions import prune
from queuectl.errors import NoSuchBatch
from queuectl.tally import Count, Tally
from tests.faults.test_races import together


def lines(path, name="b"):
    return (path / "batches" / name).read_text().split("\n")


def test_the_jobs_of_a_batch_are_in_its_list_in_their_order(spool, path):
    found = spool.enqueue_all(
        [
            {"command": "true", "batch": "b"},
            {"command": "true"},
            {"command": "true", "batch": "b", "id": "x"},
        ]
    )
    held = spool.enqueue({"command": "true", "batch": "b"}, hold=True)

    assert lines(path) == [found[0], "x", held, ""]
    assert list(batches.members(spool, "b")) == [found[0], "x", held]
    assert list(batches.names(spool)) == ["b"]


def test_a_drop_is_entered_by_the_worker_that_admits_it(spool, path):
    (path / "processing" / "me-1-abc").mkdir()
    (path / "pending" / "x.json").write_text('{"command": "true", "batch": "b"}')

    answer = admission.admit(spool, "x.json", "me-1-abc", last=True)

    assert lines(path) == [answer.name.id, ""]


def test_a_torn_line_is_no_id_and_does_not_spoil_the_next(spool, path):
    spool.enqueue({"command": "true", "batch": "b", "id": "one"})
    with (path / "batches" / "b").open("a") as file:
        file.write("onemo")
    assert list(batches.members(spool, "b")) == ["one"]

    spool.enqueue({"command": "true", "batch": "b", "id": "onemo"})
    spool.enqueue({"command": "true", "batch": "b", "id": "two"})

    assert lines(path) == ["one", "onemo~", "onemo", "two", ""]
    assert list(batches.members(spool, "b")) == ["one", "onemo", "two"]


def test_a_list_is_on_disk_before_its_job_is_in_the_queue(spool, path, monkeypatch):
    flushed, before = [], []
    flush, rename = disk._flush, disk.rename
    monkeypatch.setattr(disk, "_flush", lambda fd: flushed.append(os.fstat(fd).st_ino) or flush(fd))
    monkeypatch.setattr(disk, "rename", lambda old, new: before.extend(flushed) or rename(old, new))

    spool.enqueue({"command": "true", "batch": "b"})

    assert (path / "batches" / "b").stat().st_ino in before


def test_many_at_once_lose_nothing(spool, path):
    def enqueue():
        return [spool.enqueue({"command": "true", "batch": "b"}) for _ in range(50)]

    found = [id for answer in together(*[enqueue] * 8) for id in answer]

    assert sorted(batches.members(spool, "b")) == sorted(found)
    assert len(lines(path)) == 401


def test_enqueues_beside_a_prune_lose_nothing(spool, path):
    """The list is old and all its jobs are gone, again and again; somebody always writes to it just then."""
    (path / "batches").mkdir()

    def enqueue():
        return [spool.enqueue({"command": "true", "batch": "b"}) for _ in range(200)]

    def remove():
        known = {"nobody": None}
        for _ in range(2000):
            try:
                batches._remove(spool, "b", known)
            except FileNotFoundError:
                pass
        return []

    found = [id for answer in together(enqueue, enqueue, remove) for id in answer]

    assert sorted(batches.members(spool, "b")) == sorted(found)


def test_a_list_goes_with_its_last_job_and_not_before(spool, path):
    spool.enqueue_all(
        [{"command": "true", "id": id, "batch": id[0]} for id in ("a1", "a2", "b1", "c1")]
    )
    for id in ("a1", "b1", "c1"):
        [entry] = spool.entries_of(id)
        spool.remove(entry)
    for name in ("a", "b"):
        os.utime(path / "batches" / name, (1, 1))

    prune(spool, config.Settings(), time.time())

    assert sorted(batches.names(spool)) == [
        "a",
        "c",
    ]  # c was written to just now: its job may be on its way


# -- the tally


def test_the_tally_of_a_batch(spool, path):
    spool.enqueue_all(
        [{"command": "true", "id": f"j{number}", "batch": "b"} for number in range(6)]
    )
    spool.enqueue({"command": "true", "id": "other"})
    for id, state in (("j0", "completed"), ("j1", "dead"), ("j2", "held"), ("j3", "failed")):
        [entry] = spool.entries_of(id)
        spool.move(entry, state, entry.name)
    watched = Tally(spool, batch="b")

    assert watched.look() == Count(1, 1, 0, 4)
    spool.enqueue({"command": "true", "id": "late", "batch": "b"})
    assert watched.look() == Count(1, 1, 0, 5)
    for id in ("j2", "j3", "j4", "late"):
        [entry] = spool.entries_of(id)
        spool.move(entry, "completed", entry.name)
    assert watched.look() == Count(5, 1, 0, 1)
    assert watched.look().total == 7


@pytest.mark.parametrize("place", ["tmp/x", "processing/me/drop.json"])
@pytest.mark.parametrize("how", ["it is given up", "it takes too long"])
def test_what_is_nowhere_is_gone_unless_it_may_be_on_its_way(spool, path, place, how):
    spool.enqueue_all([{"command": "true", "id": id, "batch": "b"} for id in ("a", "b")])
    with (path / "batches" / "b").open("a") as file:
        file.write("nobody\n")
    watched = Tally(spool, batch="b")
    place = path / place
    place.parent.mkdir(exist_ok=True)
    place.write_text('{"command": "true", "batch": "b"}')
    assert [watched.look() for _ in range(3)] == [Count(0, 0, 0, 2)] * 3

    if how == "it is given up":
        place.unlink()
    else:
        os.utime(path / "batches" / "b", (1, 1))

    assert [watched.look() for _ in range(2)] == [Count(0, 0, 0, 2), Count(0, 0, 1, 2)]


def test_removed_jobs_are_not_counted_at_once(spool):
    spool.enqueue_all([{"command": "true", "batch": "b"} for _ in range(81)])
    entries = list(spool.entries("pending"))
    for entry in entries[40:]:
        spool.remove(entry)
    watched = Tally(spool, batch="b")

    assert watched.look() == Count(0, 0, 0, 40)
    assert watched.look() == Count(0, 0, 41, 40)
    for entry in entries[:40]:
        spool.move(entry, "completed", entry.name)
    assert watched.look().total == 40
    assert watched.is_over


@pytest.mark.parametrize("many", [False, True])
def test_a_wait_goes_on_while_a_job_is_on_its_way(spool, monkeypatch, many):
    spool.enqueue({"command": "true", "batch": "b"})
    [entry] = spool.entries("pending")
    spool.move(entry, "completed", entry.name)
    watched, real = Tally(spool, batch="b"), type(spool)._publish

    def publish(spool, *what):
        for _ in range(3):
            assert (watched.look(), watched.is_over) == (Count(1, 0, 0, 0), False)
        real(spool, *what)

    monkeypatch.setattr(type(spool), "_publish", publish)
    job = {"command": "true", "batch": "b"}
    spool.enqueue_all([job]) if many else spool.enqueue(job)

    assert watched.look() == Count(1, 0, 0, 1)


# -- how long a batch took


def record(spool, id, started, finished):
    """A run that began and ended so many seconds after midnight."""
    times = {"started_at": started, "finished_at": finished}
    shown = {key: value and units.iso(1_796_083_200 + value) for key, value in times.items()}
    results.append(spool.at("results"), id, {"claim": "x", "attempt": 1, **shown})


@pytest.fixture
def timed(spool):
    """Jobs of a batch that ran from 10 to 100 seconds after midnight; another ran for longer."""
    spool.enqueue_all([{"command": "true", "id": id, "batch": "b"} for id in ("a", "b", "c", "d")])
    spool.enqueue({"command": "true", "id": "other"})
    for id, *runs in (
        ("a", (20, 30)),
        ("b", (10, 40), (50, 60)),
        ("c", (90, 100)),
        ("d", (None, 35)),
        ("other", (1, 1000)),
    ):
        for started, finished in runs:
            record(spool, id, started, finished)
        [entry] = spool.entries_of(id)
        spool.move(entry, "completed", entry.name)
    return spool


def test_a_batch_took_from_its_first_start_to_its_last_end(timed, path):
    with (path / "results" / "a.jsonl").open("a") as file:
        file.write('{"claim": "y", "started_at": 5, "finished_at": "soon"}\n{"torn')
    watched = Tally(timed, batch="b")
    watched.look()

    assert watched.span() == 90.0


def test_what_was_removed_is_not_counted_and_what_runs_has_not_ended(timed, path):
    [entry] = timed.entries_of("c")
    timed.remove(entry)
    watched = Tally(timed, batch="b")
    watched.look()
    watched.look()
    assert watched.span() == 50.0

    (path / "processing" / "me").mkdir()
    timed.enqueue({"command": "true", "id": "runs", "batch": "e"})
    [entry] = timed.entries_of("runs")
    timed.claim(entry.file, "me", timed.now() - 3600)
    watched = Tally(timed, batch="e")
    watched.look()
    assert watched.span() >= 3600


def test_a_batch_of_which_nothing_has_begun_took_no_time(spool):
    spool.enqueue({"command": "true", "batch": "b"})
    watched = Tally(spool, batch="b")
    watched.look()

    assert watched.span() == 0.0


def test_a_job_that_was_seen_nowhere_once_is_not_gone(spool, path):
    spool.enqueue({"command": "true", "id": "a", "batch": "b"})
    os.utime(path / "batches" / "b", (1, 1))
    watched = Tally(spool, batch="b")
    [entry] = spool.entries_of("a")

    os.rename(path / entry.file, path / "elsewhere")
    assert (watched.look(), watched.is_over) == (Count(0, 0, 0, 0), False)
    os.rename(path / "elsewhere", path / entry.file)
    assert watched.look() == Count(0, 0, 0, 1)
    os.rename(path / entry.file, path / "elsewhere")
    assert watched.look() == Count(0, 0, 0, 1)
    assert watched.look() == Count(0, 0, 1, 0)


def test_an_id_that_came_again_for_another_job_is_gone(spool, path):
    spool.enqueue({"command": "true", "id": "a", "batch": "b"})
    [entry] = spool.entries_of("a")
    spool.remove(entry)
    spool.enqueue({"command": "true", "id": "a"})
    os.utime(path / "batches" / "b", (1, 1))
    watched = Tally(spool, batch="b")

    watched.look()
    assert watched.look() == Count(0, 0, 1, 0)


def test_a_wait_ends_in_time(spool):
    spool.enqueue({"command": "true", "batch": "b"})
    told = []

    count, is_over = tally.wait(Tally(spool, batch="b"), 0.01, told.append)

    assert (count, is_over) == (Count(0, 0, 0, 1), False)
    assert told[0] == count


def test_a_batch_of_a_hundred_thousand_is_looked_at_by_its_names(spool, path, monkeypatch):
    (path / "batches").mkdir()
    known = [f"j{number}" for number in range(100_000)]
    (path / "batches" / "b").write_text("\n".join([*known, ""]))
    for number, id in enumerate(known):
        state = "pending" if number < 50_000 else "completed"
        os.close(
            os.open(
                path / state / f"20261122T101502.123456Z-p5-a0-{id}.json", os.O_CREAT | os.O_WRONLY
            )
        )
    monkeypatch.setattr(
        tally.lookup, "at_last_record", lambda *_: pytest.fail("searched for one job")
    )
    watched = Tally(spool, ids=known)

    assert watched.look() == Count(50_000, 0, 0, 50_000)


def test_a_batch_that_nobody_knows_is_refused(spool):
    with pytest.raises(NoSuchBatch):
        Tally(spool, batch="b").look()
