"""The chores: when they are done for the first time."""

import os
import time

import pytest

from queuectl import chores as room
from queuectl.chores import Chores
from queuectl.crew import Crew, Hand
from queuectl.layout import Layout
from queuectl.log import Log
from queuectl.phase import Phase
from queuectl.wire import pair


@pytest.fixture
def chores(spool, monkeypatch):
    monkeypatch.setattr(room, "SOON", 60.0)  # longer than any test, however slow this machine is
    null = os.open(os.devnull, os.O_WRONLY)
    chores = Chores(spool, "super-1-abc", Crew(), Log(null, "text"), lambda: None)
    chores.begin()
    yield chores
    chores.end()
    os.close(null)


def test_the_first_chores_wait_until_the_workers_are_up(chores, path):
    chores.tend()
    assert chores.is_new
    assert not list(path.glob("pruned.*"))

    chores.hurry()
    chores.tend()

    assert not chores.is_new
    assert list(path.glob("pruned.*"))


def test_without_workers_they_come_soon_all_the_same(chores):
    assert chores.wakes_at() <= time.monotonic() + room.SOON


def test_a_supervisor_does_not_end_before_its_first_chores_unless_it_must(chores):
    assert (chores.is_busy(Phase.FINISHING), chores.is_busy(Phase.ENDING)) == (True, False)

    chores.hurry()
    chores.tend()

    assert not chores.is_busy(Phase.FINISHING)


def test_a_spool_that_goes_just_before_a_heartbeat_is_told_as_that(chores, path, monkeypatch):
    here, there = pair()
    chores.spool.pin()
    chores.crew.hands[1] = Hand(1, here, 0.0, name="w")
    said, signalled = [], []
    monkeypatch.setattr(chores, "warn", said.append)
    monkeypatch.setattr(chores.pulse, "_warn", said.append)
    monkeypatch.setattr(os, "kill", lambda *words: signalled.append(words))
    monkeypatch.setattr(chores, "_say_how_it_is", lambda: path.rename(path.with_name("aside")))

    chores.hurry()
    chores.tend()

    assert (said, signalled) == ([f"{chores.fatal}: ending the running commands and stopping"], [])
    assert chores.fatal.startswith(f"{path} was removed, moved or replaced")
    for line in (here, there):
        line.close()


def test_another_heartbeat_interval_counts_from_the_beat_that_reads_it(chores, path):
    (path / "config.json").write_text('{"heartbeat_interval": 0.5}')
    chores.hurry()
    before = time.monotonic()
    chores.tend()

    assert before <= chores.wakes_at() <= time.monotonic() + 0.5


@pytest.mark.parametrize(("step", "told"), [(-43200.0, ["12h"]), (-1.0, []), (43200.0, [])])
def test_a_clock_that_was_set_back_is_told_once(chores, monkeypatch, step, told):
    warnings = []
    chores.warn = warnings.append
    beat(chores)
    real = Layout.now
    monkeypatch.setattr(Layout, "now", lambda spool: real(spool) + step)
    for _ in range(3):
        beat(chores)

    assert [text.partition("set back by ")[2].partition(":")[0] for text in warnings] == told


def beat(chores):
    """Do the chores of a heartbeat."""
    chores.hurry()
    chores.tend()
