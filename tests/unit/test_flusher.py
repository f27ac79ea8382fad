"""The flusher: when what happened is synced."""

import errno
import os

import pytest

from queuectl import disk, liveness
from queuectl import flusher as room
from queuectl.crew import Hand
from queuectl.flusher import INTERVAL, PATIENCE, Flusher
from queuectl.log import Log
from queuectl.supervisor import Supervisor
from queuectl.wire import pair


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    return clock


@pytest.fixture
def flusher(path, clock):
    path.mkdir()
    flusher = Flusher(str(path), print)
    yield flusher
    flusher.finish()


@pytest.fixture
def synced(monkeypatch, tmp_path):
    """A function that answers which file systems were synced so far, also by children."""
    file = tmp_path / "synced"
    file.touch()

    def note(path):
        with file.open("a") as lines:
            lines.write(f"{path}\n")

    monkeypatch.setattr(disk, "sync_all", note)
    return lambda: file.read_text().splitlines()


@pytest.fixture
def supervisor(spool):
    """A supervisor that does not run."""
    null = os.open(os.devnull, os.O_WRONLY)
    yield Supervisor(spool, 1, Log(null, "text"))
    os.close(null)


@pytest.fixture
def hand():
    """A worker as its supervisor sees it, and the worker's end of the line."""
    here, there = pair()
    yield Hand(1, here, 0.0, name="w"), there
    here.close()
    there.close()


def test_what_is_noted_gathers_and_is_synced_by_one_child(flusher, clock):
    flusher.note()
    clock.now += INTERVAL - 0.01
    flusher.note()
    flusher.flush()
    assert flusher.pid == 0

    clock.now += 0.02
    flusher.flush()

    assert flusher.pid
    _, status = os.waitpid(flusher.pid, 0)
    flusher.ended(status)
    assert status == 0
    assert flusher.wakes_at() is None


def test_the_child_syncs_the_file_system_of_the_spool(flusher, path, synced):
    flusher.note()
    flusher.hurry()
    flusher.flush()

    flusher.ended(os.waitpid(flusher.pid, 0)[1])

    assert synced() == [str(path)]


def test_what_is_noted_while_a_child_syncs_waits_for_the_next(flusher, clock):
    flusher.note()
    flusher.hurry()
    flusher.flush()
    child = flusher.pid
    assert child
    flusher.note()
    assert flusher.wakes_at() is None

    flusher.ended(os.waitpid(child, 0)[1])

    assert flusher.wakes_at() == clock.now + INTERVAL


def test_with_nothing_noted_nothing_is_synced(flusher):
    flusher.hurry()
    flusher.flush()
    flusher.finish()

    assert flusher.pid == 0


def test_what_no_child_could_be_forked_for_is_synced_later(flusher, clock, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        flusher.note()
        flusher.hurry()
        with pytest.raises(OSError, match="no process left"):
            flusher.flush()

    assert flusher.wakes_at() == clock.now + PATIENCE


def test_the_last_sync_needs_no_child(flusher, monkeypatch):
    synced = []
    monkeypatch.setattr(disk, "sync_all", synced.append)
    monkeypatch.setattr(os, "fork", refuse)
    flusher.note()
    flusher.finish()

    assert len(synced) == 1
    assert flusher.wakes_at() is None


def test_a_sync_that_failed_is_warned_of_and_tried_again(flusher, clock, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync_all", refuse)
        flusher.note()
        flusher.hurry()
        flusher.flush()
    flusher.ended(os.waitpid(flusher.pid, 0)[1])

    assert "cannot sync" in capsys.readouterr().out
    assert flusher.wakes_at() == clock.now + PATIENCE


def test_the_end_makes_durable_what_was_noted_last(flusher, path, synced):
    flusher.note()
    flusher.finish()

    assert synced() == [str(path)]


def test_the_end_waits_for_the_child_that_syncs_already(flusher):
    flusher.note()
    flusher.hurry()
    flusher.flush()
    child = flusher.pid

    flusher.finish()

    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)


def test_a_supervisor_makes_durable_what_was_noted_before_it_ends(supervisor, path, synced):
    supervisor.flusher.note()
    supervisor._close()

    assert synced() == [str(path)]


@pytest.mark.parametrize("verb", ["want", "took", "filed"])
def test_a_worker_that_tells_of_its_jobs_has_done_something_that_must_be_durable(
    supervisor, hand, verb
):
    ours, theirs = hand
    ours.held_since = 1.0
    theirs.send(verb, "1")

    supervisor._listen(ours)

    assert supervisor.flusher.wakes_at() is not None


def test_a_rescued_job_must_be_durable_where_it_went(supervisor, spool):
    spool.enqueue({"command": "true", "id": "a"})
    record, lock = liveness.enroll(spool, supervisor.name, os.getpid())
    [entry] = spool.entries_of("a")
    assert spool.claim(entry.file, record.worker, 1_795_342_502.5)
    os.close(lock)

    supervisor.chores.bury(record.worker)

    assert spool.state_of("a") == "failed"
    assert supervisor.flusher.wakes_at() is not None


def refuse(*_):
    raise OSError(errno.EAGAIN, "no process left")
