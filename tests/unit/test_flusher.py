"""The flusher: when what happened is synced."""

import os

import pytest

from queuectl import flusher as room
from queuectl.flusher import INTERVAL, Flusher


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
    flusher = Flusher(str(path))
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
    flusher.ended()
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

    os.waitpid(child, 0)
    flusher.ended()

    assert flusher.wakes_at() == clock.now + INTERVAL


def test_with_nothing_noted_nothing_is_synced(flusher):
    flusher.hurry()
    flusher.flush()
    flusher.finish()

    assert flusher.pid == 0
