"""What `queuectl top` sees of a spool, and what that costs."""

import os
import signal

import pytest

from queuectl import actions, disk, lookup
from queuectl.errors import SpoolMissing
from queuectl.filename import Name, encode
from queuectl.lookout import Lookout, LookoutDied
from queuectl.sight import First, Sight
from tests.support import until


def ids(view):
    return [row.id for row in view.rows]


@pytest.fixture
def seen(monkeypatch):
    """The directories that are read."""
    found = []
    scan = disk.scan
    monkeypatch.setattr(
        disk,
        "scan",
        lambda path, **more: found.append(path.rpartition("/")[2]) or scan(path, **more),
    )
    return found


def test_the_first_names_are_those_of_a_sorted_list():
    texts = [f"{i * 7919 % 1000:03}" for i in range(1000)]
    first, last = First(lambda text: text, 5), First(lambda text: text, 5, newest=True)
    for text in texts:
        first.add(text)
        last.add(text)

    assert first.names() == sorted(texts)[:5]
    assert last.names() == sorted(texts, reverse=True)[:5]


def test_jobs_come_in_the_order_of_a_list(spool):
    for id, priority, delay in (("a", 5, 0), ("b", 9, 0), ("c", 5, 100)):
        spool.enqueue({"command": "true", "id": id, "priority": priority, "delay": delay})
    spool.enqueue({"command": "true", "id": "d"}, hold=True)
    actions.cancel(spool, spool.enqueue({"command": "true", "id": "e"}))

    view = Sight(spool).look()

    assert (
        ids(view)
        == ["b", "a", "c", "d", "e"]
        == [entry.name.id for entry in lookup.select(spool, view.jobs, 0)]
    )
    assert [row.why for row in view.rows] == [
        "no worker is alive",
        "no worker is alive",
        "due in 1m",
        "held",
        "cancelled before it ran",
    ]
    assert (view.jobs["pending"], view.jobs["held"], view.jobs["dead"], view.jobs["completed"]) == (
        3,
        1,
        1,
        None,
    )


def test_a_drop_that_no_worker_has_admitted_is_shown(spool, path):
    (path / "pending" / "mine.json").write_text('{"command": "true"}')
    spool.enqueue({"command": "true", "id": "a", "priority": 9})

    assert ids(Sight(spool).look()) == ["mine.json", "a"]


def test_only_a_hundred_jobs_of_a_state_are_shown_and_no_other_file_is_read(
    spool, path, monkeypatch
):
    for number in range(250):
        (path / "pending" / encode(Name(1e9 + number, 5, 0, f"job{number}"))).write_text(
            '{"command": "true"}'
        )
    read, files = lookup.read, []
    monkeypatch.setattr(lookup, "read", lambda spool, file: files.append(file) or read(spool, file))
    sight = Sight(spool)

    assert len(sight.look().rows) == 100
    sight.look()

    assert len(files) == 100


def test_completed_jobs_are_counted_apart_and_an_unchanged_directory_is_not_read_again(
    spool, path, seen, monkeypatch
):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    sight = Sight(spool)
    for name in ("completed", "pending", "dead"):
        os.utime(path / name, (1e9, 1e9))  # long ago: a time that may be relied on
    sight.look()
    assert "completed" not in seen
    assert sight.count()
    assert sight.look().jobs["completed"] == 0
    seen.clear()

    now[0] += 100
    sight.look()
    sight.count()

    assert not {"completed", "pending", "dead"} & set(seen)


def test_a_directory_that_takes_long_to_read_rests_and_is_marked(spool, seen, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    sight = Sight(spool)
    read = sight._ended._names

    def slow(state):
        now[0] += 2.0 if state == "completed" else 0.0
        return read(state)

    monkeypatch.setattr(sight._ended, "_names", slow)
    sight.count()
    assert sight.look().rare == ["completed"]
    seen.clear()

    now[0] += 19.0  # less than ten times as long
    sight.count()
    assert "completed" not in seen

    now[0] += 1000.0
    sight.count()
    assert "completed" in seen


def test_a_text_is_looked_for_in_ids_and_in_names(spool):
    for id, name in (("alpha", "x"), ("beta", "Alphabet"), ("gamma", "y")):
        spool.enqueue({"command": "true", "id": id, "name": name})

    sight = Sight(spool)
    assert len(sight.look().rows) == 3
    sight.want("ALPHA")

    assert ids(sight.look()) == ["alpha", "beta"]
    sight.want("")
    assert len(sight.look().rows) == 3


def test_a_job_that_ended_is_counted_in_its_minute(spool):
    actions.cancel(spool, spool.enqueue("true"))

    view = Sight(spool).look()

    assert sum(view.minutes[-2:]) == 1
    assert len(view.minutes) == 16


def test_a_missing_spool_is_said(spool, path):
    sight = Sight(spool)
    sight.look()
    path.rename(path.with_name("away"))

    with pytest.raises(SpoolMissing):
        sight.look()


@pytest.fixture
def lookout(spool):
    lookout = Lookout(spool)
    yield lookout
    lookout.close()


def came(lookout, condition):
    """Wait for a view that fulfils a condition."""

    def look():
        lookout.receive()
        return lookout.view if lookout.view and condition(lookout.view) else None

    return until(look)


def test_the_lookout_tells_what_changes(spool, lookout):
    came(lookout, lambda view: view.jobs.get("completed") == 0)
    spool.enqueue({"command": "true", "id": "a"})

    view = came(lookout, lambda view: view.rows)

    assert (view.rows[0].id, view.jobs["pending"]) == ("a", 1)


def test_the_lookout_keeps_the_last_view_of_a_spool_that_goes_away(spool, path, lookout):
    spool.enqueue({"command": "true", "id": "a"})
    came(lookout, lambda view: view.rows)

    path.rename(path.with_name("away"))

    assert ids(came(lookout, lambda view: "no spool" in view.trouble)) == ["a"]


def test_the_lookout_looks_at_once_for_another_text(spool, lookout):
    spool.enqueue({"command": "true", "id": "alpha"})
    spool.enqueue({"command": "true", "id": "beta"})
    came(lookout, lambda view: len(view.rows) == 2)

    lookout.ask("bet")

    assert ids(came(lookout, lambda view: len(view.rows) == 1)) == ["beta"]


def test_a_lookout_that_died_is_said(lookout):
    os.kill(lookout.pid, signal.SIGKILL)

    with pytest.raises(LookoutDied):
        until(lookout.receive)
