"""Coming in: enqueue, ids, the spool itself."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

from queuectl import Job, Spool, disk, ids, intake
from queuectl.errors import IdTaken, InvalidJob, KeyTaken, SpoolMissing, SpoolUnusable, SpoolVersion
from queuectl.filename import decode
from queuectl.layout import MADE, STATES
from tests.support import ids_in, names


def test_a_new_spool_has_all_its_directories_and_is_private(path):
    Spool(path).make()

    assert set(os.listdir(path)) == {*MADE, "spool.json"}
    assert json.loads((path / "spool.json").read_text()) == {"version": 1}
    assert all(os.stat(path / name).st_mode & 0o777 == 0o700 for name in ["", *MADE])


def test_making_a_spool_twice_changes_nothing(spool, path):
    spool.enqueue("true")

    Spool(path).make()

    assert len(names(path, "pending")) == 1


def test_looking_at_a_spool_that_is_not_there_does_not_make_one(path):
    with pytest.raises(SpoolMissing, match="queuectl init"):
        Spool(path).open()

    assert not path.exists()


def test_a_directory_that_holds_other_things_is_never_filled(path):
    path.mkdir()
    (path / "thesis.doc").touch()

    with pytest.raises(SpoolUnusable, match=r"thesis\.doc"):
        Spool(path).make()

    assert os.listdir(path) == ["thesis.doc"]


def test_a_spool_that_a_crash_left_half_made_is_finished(path):
    path.mkdir()
    (path / "pending").mkdir()

    Spool(path).make()

    assert (path / "dead").is_dir()


def test_a_file_is_no_spool(path):
    path.touch()

    with pytest.raises(SpoolUnusable, match="not a directory"):
        Spool(path).make()


@pytest.mark.parametrize(
    "text", ['{"version": 2}', '{"version": "1"}', '{"version": true}', "{}", "", "[]", "{"]
)
def test_a_spool_of_another_format_is_refused(spool, path, text):
    (path / "spool.json").write_text(text)

    with pytest.raises(SpoolVersion, match=r"spool\.json"):
        Spool(path).open()


def test_an_enqueued_job_is_one_whole_file_with_its_fields(spool, path):
    id = spool.enqueue(Job(["ls", "-l"], priority=7, env={"A": "1"}, name="listing"))

    [name] = names(path, "pending")
    record = json.loads((path / "pending" / name).read_text())
    assert decode(name)[1:] == (7, 0, id)
    assert {key: record[key] for key in ("command", "priority", "env", "name")} == {
        "command": ["ls", "-l"],
        "priority": 7,
        "env": {"A": "1"},
        "name": "listing",
    }
    assert os.listdir(path / "tmp") == []
    assert (path / "pending" / name).stat().st_mode & 0o777 == 0o600


def test_a_job_may_be_a_command_an_argv_or_an_object(spool, path):
    spool.enqueue("echo hi")
    spool.enqueue(["echo", "hi"])
    spool.enqueue({"command": "echo hi", "id": "x"})

    assert len(names(path, "pending")) == 3


def test_a_delayed_job_waits_under_its_future_time(spool, path):
    spool.enqueue({"command": "true", "delay": 3600, "created_at": "2026-11-22T10:00:00Z"})
    spool.enqueue({"command": "true", "run_at": "2030-01-01T00:00:00Z"})

    assert [name[:23] for name in names(path, "pending")] == [
        "20261122T110000.000000Z",
        "20300101T000000.000000Z",
    ]


def test_a_job_that_is_too_large_is_refused_and_leaves_nothing(spool, path):
    with pytest.raises(InvalidJob, match="max_job_size"):
        spool.enqueue({"command": "true", "stdin": "x" * 1024 * 1024})

    assert os.listdir(path / "tmp") == names(path, "pending") == []


def test_many_jobs_keep_their_order(spool, path):
    made = spool.enqueue_all({"command": f"echo {i}"} for i in range(2500))

    assert len(set(made)) == 2500
    assert ids_in(path, "pending") == sorted(made)


@pytest.mark.parametrize("count", [3, 2 * intake.MANY])
def test_of_many_jobs_every_file_is_synced_before_the_first_is_moved(spool, monkeypatch, count):
    synced, moved = [], []
    sync, rename = disk.sync, disk.rename
    monkeypatch.setattr(disk, "sync", lambda path: synced.append(path) or sync(path))
    monkeypatch.setattr(
        disk, "rename", lambda old, new: moved.append((old, set(synced))) or rename(old, new)
    )

    spool.enqueue_all(["true"] * count)

    assert len(moved) == count
    assert {old for old, _ in moved} <= moved[0][1]


@pytest.mark.parametrize("count", [3, 2 * intake.MANY])
def test_a_file_of_many_that_cannot_be_synced_stops_them_all(spool, path, monkeypatch, count):
    left, sync = iter(range(count)), disk.sync

    def fail(path):
        if next(left) == count // 2:
            raise OSError(errno.EIO, "broken", path)
        sync(path)

    monkeypatch.setattr(disk, "sync", fail)
    with pytest.raises(OSError, match="broken"):
        spool.enqueue_all(["true"] * count)

    assert names(path, "pending") == names(path, "tmp") == []


def test_many_jobs_are_enqueued_where_no_thread_can_be_started(spool, path, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    spool.enqueue_all(["true"] * (2 * intake.MANY))

    assert len(names(path, "pending")) == 2 * intake.MANY


@pytest.mark.parametrize("turn", ["thread", "atexit"])
def test_many_jobs_are_enqueued_while_the_program_ends(path, turn):
    """By a thread that outlives the main one, or by what is left for the very end."""
    start = {"thread": "threading.Thread(target=act).start()", "atexit": "atexit.register(act)"}[
        turn
    ]
    code = f"""
import atexit, sys, threading
from queuectl import Spool
spool = Spool(sys.argv[1])
spool.enqueue_all(["true"] * 100)
def act():
    if {turn == "thread"}:
        threading.main_thread().join()
    spool.enqueue_all(["true"] * 100)
{start}
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(names(path, "pending")) == 200


def test_who_interrupts_a_bulk_enqueue_does_not_wait_for_all_files(spool, path, monkeypatch):
    synced, sync, interrupted = [], disk.sync, threading.Event()

    def interrupt(path):
        synced.append(path)
        if threading.current_thread() is threading.main_thread():
            interrupted.set()
            raise KeyboardInterrupt
        interrupted.wait(10)
        sync(path)

    monkeypatch.setattr(disk, "sync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        spool.enqueue_all(["true"] * 500)

    assert len(synced) < 250
    assert names(path, "pending") == names(path, "tmp") == []


def test_a_wrong_job_among_many_stops_them_all(spool, path):
    with pytest.raises(InvalidJob):
        spool.enqueue_all(["true", {"command": ""}])

    assert names(path, "pending") == []


def test_a_directory_that_was_removed_is_made_again(spool, path):
    for name in ("pending", "tmp"):
        (path / name).rmdir()

    spool.enqueue("true")

    assert len(names(path, "pending")) == 1


# -- one id, one job


def test_a_chosen_id_is_refused_while_its_job_is_here_in_any_state(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    for state in ("pending", "failed", "completed", "dead"):
        [entry] = spool.entries_of("a")
        spool.move(entry, state, entry.name)
        with pytest.raises(IdTaken) as refusal:
            spool.enqueue({"command": "true", "id": "a"})
        assert refusal.value.state == state

    assert os.listdir(path / "tmp") == []
    assert sum(len(names(path, state)) for state in STATES) == 1


def test_the_link_of_an_id_is_another_name_of_the_jobs_file(spool, path):
    spool.enqueue({"command": "true", "id": "a"})

    assert (path / "ids" / "a").samefile(path / "pending" / names(path, "pending")[0])


def test_an_id_is_free_again_when_its_job_was_removed_by_hand(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    (path / "pending" / names(path, "pending")[0]).unlink()

    spool.enqueue({"command": "false", "id": "a"})

    assert ids_in(path, "pending") == ["a"]
    assert (path / "ids" / "a").stat().st_nlink == 2


def test_an_id_that_two_find_void_is_held_by_the_first(spool, path, overtake):
    (path / "ids" / "a").touch()
    mine, theirs = path / "tmp" / "mine", path / "tmp" / "theirs"
    for file in (mine, theirs):
        file.write_text('{"command": "true"}')
    overtake(lambda: spool.hold_id("a", str(theirs)))

    assert not spool.hold_id("a", str(mine))
    assert (path / "ids" / "a").samefile(theirs)


def test_a_void_link_that_somebody_has_made_good_meanwhile_is_not_removed(spool, path, overtake):
    (path / "ids" / "a").touch()
    overtake(lambda: spool.enqueue({"command": "true", "id": "a"}))

    spool.void("a")

    assert (path / "ids" / "a").samefile(path / "pending" / names(path, "pending")[0])


def test_a_chosen_id_is_durable_when_its_enqueue_returns(spool, path, monkeypatch):
    synced, sync = {}, disk.sync

    def note(place):
        if os.path.isdir(place):
            synced[os.path.basename(place)] = os.listdir(place)
        sync(place)

    monkeypatch.setattr(disk, "sync", note)
    spool.enqueue({"command": "true", "id": "a"})

    assert synced == {"pending": names(path, "pending"), "ids": ["a"]}


def test_a_void_link_is_no_licence_while_a_copy_of_the_job_is_here(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    [name] = names(path, "pending")
    data = (path / "pending" / name).read_bytes()
    (path / "pending" / name).unlink()
    (path / "dead" / name).write_bytes(data)

    with pytest.raises(IdTaken, match="dead"):
        spool.enqueue({"command": "true", "id": "a"})


def test_an_id_whose_enqueuer_was_killed_can_be_used_again(spool, path):
    child = multiprocessing.get_context("fork").Process(target=_die_holding, args=(spool, "a"))
    child.start()
    child.join()
    assert len(os.listdir(path / "tmp")) == 1

    spool.enqueue({"command": "true", "id": "a"})

    assert ids_in(path, "pending") == ["a"]
    assert os.listdir(path / "tmp") == []


def _die_holding(spool, id):
    temporary = spool.temporary()
    with open(temporary, "x") as file:
        file.write('{"command": "true"}')
    assert spool.hold_id(id, temporary)
    os._exit(0)


def test_an_id_that_is_being_enqueued_by_a_living_process_is_taken(spool, path):
    temporary = spool.temporary()
    with open(temporary, "x") as file:
        file.write('{"command": "true"}')
    assert spool.hold_id("a", temporary)

    with pytest.raises(IdTaken, match="just enqueued"):
        spool.enqueue({"command": "true", "id": "a"})


def test_an_id_of_our_own_shape_can_be_chosen_once(spool, path):
    id = ids.fresh()
    spool.enqueue({"command": "true", "id": id})

    with pytest.raises(IdTaken):
        spool.enqueue({"command": "true", "id": id})
    assert len(names(path, "pending")) == 1


def test_one_of_fifty_racing_enqueues_of_one_id_wins(spool, path):
    fork = multiprocessing.get_context("fork")
    start, answers = fork.Event(), fork.Queue()

    def race(number):
        start.wait()
        try:
            answers.put(spool.enqueue({"command": f"echo {number}", "id": "a"}))
        except IdTaken:
            answers.put(None)

    racers = [fork.Process(target=race, args=(number,)) for number in range(50)]
    for racer in racers:
        racer.start()
    start.set()
    found = [answers.get(timeout=30) for _ in racers]
    for racer in racers:
        racer.join()

    assert found.count("a") == 1
    assert len(names(path, "pending")) == 1
    assert os.listdir(path / "tmp") == []


def test_the_sweep_leaves_the_living_and_the_young_of_other_hosts(spool, path):
    mine, theirs, old = spool.temporary(), path / "tmp" / "1~otherhost~x~y", path / "tmp" / "junk"
    for file in (mine, theirs, old):
        open(file, "x").close()
    os.utime(old, (1, 1))

    assert spool.sweep() == 1
    assert sorted(os.listdir(path / "tmp")) == sorted([os.path.basename(mine), theirs.name])


@pytest.mark.parametrize(
    "job", [{"command": "true"}, {"command": "true", "id": "a"}], ids=["own id", "chosen id"]
)
def test_an_enqueue_costs_the_same_number_of_disk_calls_at_any_backlog(
    spool, path, monkeypatch, job
):
    def calls():
        seam = Counting()
        with monkeypatch.context() as patch:
            patch.setattr(disk, "os", seam)
            spool.enqueue(
                {**job, **({"id": f"a{len(os.listdir(path / 'pending'))}"} if "id" in job else {})}
            )
        return seam.calls

    calls()  # settles the settings
    first = calls()
    for number in range(500):
        (path / "pending" / f"20261121T101502.123456Z-p5-a0-j{number}.json").touch()

    assert calls() == first
    assert "scandir" not in first
    assert len(first) <= 25


class Counting:
    """Stands in for os and notes what is called."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        real = getattr(os, name)
        if not callable(real) or isinstance(real, type):
            return real

        def call(*args, **options):
            self.calls.append(name)
            return real(*args, **options)

        return call


def test_the_disk_that_fails_amid_many_says_which_jobs_it_has(spool, path, monkeypatch):
    spool.make()
    real, told, synced = disk.rename, [], []

    def full(source, target):
        if target.endswith("-c.json"):
            raise OSError(errno.ENOSPC, "full", target)
        return real(source, target)

    monkeypatch.setattr(disk, "rename", full)
    monkeypatch.setattr(disk, "sync", synced.append)
    with pytest.raises(OSError, match="full"):
        spool.enqueue_all([{"command": "true", "id": id} for id in "abcd"], told=told.extend)

    assert told == ids_in(path, "pending") == ["a", "b"]
    assert synced[-2:] == [str(path / "pending"), str(path / "ids")]
    assert sorted(names(path, "ids")) == ["a", "b"]
    assert names(path, "tmp") == []


def test_a_job_that_came_in_before_the_disk_failed_keeps_its_key(spool, path, monkeypatch):
    rename = disk.rename

    def full(source, target):
        if target.endswith("-b.json"):
            raise OSError(errno.ENOSPC, "full", target)
        return rename(source, target)

    monkeypatch.setattr(disk, "rename", full)
    with pytest.raises(OSError, match="full"):
        spool.enqueue_all([{"command": "true", "id": id, "unique": f"key-{id}"} for id in "ab"])

    with pytest.raises(KeyTaken):
        spool.enqueue({"command": "true", "unique": "key-a"})
    assert names(path, "unique") == [".lock", "key-a"]
