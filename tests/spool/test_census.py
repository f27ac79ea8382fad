"""The census counts what the directories hold, and reads only those that have changed."""

import os

import pytest

from queuectl import actions, census, lookup
from queuectl.census import Census
from queuectl.filename import Name, encode
from queuectl.layout import STATES


def put(spool, state, id, at, **fields):
    text = encode(Name(at, 5, 1, id))
    with open(spool.at(state, text), "x") as file:
        file.write('{"command": "true"}')
    return f"{state}/{text}"


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """No rest between two looks."""
    monkeypatch.setattr(census, "REST", 0.0)
    monkeypatch.setattr(census, "SHARE", 0.0)


def test_it_counts_as_status_does(spool):
    spool.enqueue_all(
        [
            {"id": "a", "command": "true"},
            {"id": "b", "command": "true", "delay": "1h"},
            {"id": "c", "command": "true"},
        ]
    )
    actions.hold(spool, lookup.find(spool, "c"))
    (open(spool.at("pending", "drop.json"), "w")).close()
    spool.reject("pending/drop.json", "no reason")
    (open(spool.at("pending", ".hidden.json"), "w")).close()
    (open(spool.at("pending", "half.tmp"), "w")).close()
    counts = Census(spool)

    counts.look()

    assert counts.jobs() == {**{state: spool.count(state) for state in STATES}, "rejected": 1}
    assert counts.scheduled() == 1
    assert counts.oldest() == lookup.find(spool, "a").name.time


def test_before_the_first_look_nothing_is_known(spool):
    assert set(Census(spool).jobs().values()) == {None}


def test_a_directory_that_stands_still_is_not_read_again(spool, monkeypatch):
    put(spool, "completed", "a", 1.7e9)
    for state in (*STATES, "rejected"):
        if os.path.isdir(spool.at(state)):
            os.utime(spool.at(state), (1.7e9, 1.7e9))
    counts, read = Census(spool), []
    counts.look()

    counts.look(read.append)
    assert read == []

    put(spool, "completed", "b", 1.7e9)
    counts.look(read.append)
    assert read == ["completed"]
    assert counts.jobs()["completed"] == 2


def test_what_ended_is_counted_by_the_minute_and_sampled(spool):
    now = spool.now()
    at = now - now % 60 - 120
    for n in range(10):
        file = put(spool, "completed", f"j{n}", at + n)
        lookup.results.append(
            spool.at("results"), f"j{n}", {"claim": "x", "to": file, "duration": float(n)}
        )
    put(spool, "completed", "old", now - 2 * census.DAY)
    put(spool, "dead", "bad", at)
    counts = Census(spool)

    counts.look()
    report = counts.report()

    assert list(report["ends"]["completed"].values()) == [10]
    assert list(report["ends"]["dead"].values()) == [1]
    [sample] = report["durations"].values()
    assert len(sample) == census.SAMPLE


def test_what_becomes_due_is_seen_without_a_change(spool, monkeypatch):
    put(spool, "pending", "soon", spool.now() + 3600)
    counts = Census(spool)
    counts.look()
    assert (counts.scheduled(), counts.oldest()) == (1, None)

    now = spool.now()
    monkeypatch.setattr(type(spool), "now", lambda self: now + 7200)
    counts.look()

    assert counts.scheduled() == 0
    assert counts.oldest() is not None
