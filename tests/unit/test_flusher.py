"""The flusher: when what happened is synced."""

import errno
import os

import pytest

from queuectl import disk
from queuectl import flusher as room
from queuectl.flusher import INTERVAL, PATIENCE, Flusher


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


def refuse(*_):
    raise OSError(errno.EAGAIN, "no process left")
