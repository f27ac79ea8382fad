"""Finding one job: by its whole id where something is done, by a beginning where somebody looks, wherever it moves."""

import json
import os

import pytest

from queuectl import NoSuchJob, actions, cli, disk, ids, lookup, stopping, timetable
from queuectl.dashboard import deeds
from queuectl.dashboard.counter import Counter
from queuectl.dashboard.desk import Desk, Options
from queuectl.errors import AmbiguousId, NoSuchSchedule, NoSuchWorker
from queuectl.filename import encode
from queuectl.schedule import Schedule
from queuectl.selection import Selection
from tests.support import ids_in

#: A chosen id that has the shape of those that queuectl makes.
TIMESTAMP = "20261122101502123"


@pytest.fixture
def snatch(spool, path, monkeypatch):
    """snatch(id): whoever moves this job next finds that somebody has renamed it just now."""
    real = disk.rename

    def snatch(id):
        def rename(source, target):
            found = [e for e in spool.entries_of(id) if str(path / e.file) == source]
            for entry in found:
                monkeypatch.setattr(disk, "rename", real)
                name = entry.name._replace(priority=9)
                os.rename(source, path / os.path.dirname(entry.file) / encode(name))
            return real(source, target)

        monkeypatch.setattr(disk, "rename", rename)

    return snatch


def put(spool, id, state="pending"):
    spool.enqueue({"command": "true", "id": id})
    [entry] = spool.entries_of(id)
    if state != "pending":
        spool.need(state)
        spool.move(entry, state, entry.name)


# -- whole ids and beginnings


def test_a_beginning_is_no_id_and_the_only_id_that_begins_so_is_named(spool):
    for id in ("build-10", "test-1", "test-2"):
        put(spool, id)

    with pytest.raises(NoSuchJob, match="no job 'build-1' in .*; did you mean 'build-10'"):
        lookup.find(spool, "build-1")
    with pytest.raises(NoSuchJob, match="'queuectl list' shows the jobs there are"):
        lookup.find(spool, "test")


def test_a_drop_is_found_by_its_id_also_beside_a_job_whose_id_begins_so(spool, path):
    put(spool, "a-1")
    (path / "pending" / "x.json").write_text('{"command": "true", "id": "a"}')

    assert lookup.find(spool, "a").file == "pending/x.json"


def test_who_looks_may_give_a_beginning(spool):
    for id in ("job1", "job10", "other"):
        put(spool, id)

    assert lookup.find_by_beginning(spool, "oth").name.id == "other"
    assert lookup.find_by_beginning(spool, "job1").name.id == "job1"
    with pytest.raises(AmbiguousId, match="job1, job10"):
        lookup.find_by_beginning(spool, "job")
    with pytest.raises(NoSuchJob):
        lookup.find_by_beginning(spool, "x")


def test_twelve_characters_of_an_id_that_queuectl_made_are_enough_and_eleven_are_not(spool):
    id = spool.enqueue("true")

    assert lookup.find_to_change(spool, id[:12]).name.id == id
    with pytest.raises(NoSuchJob, match=f"did you mean '{id}'"):
        lookup.find_to_change(spool, id[:11])
    with pytest.raises(NoSuchJob, match=f"did you mean '{id}'"):
        lookup.find(spool, id[:12])


def test_an_id_that_a_caller_chose_is_never_meant_by_a_beginning(spool):
    assert ids.is_ours(TIMESTAMP)
    put(spool, TIMESTAMP)

    with pytest.raises(NoSuchJob, match=f"did you mean '{TIMESTAMP}'"):
        lookup.find_to_change(spool, TIMESTAMP[:14])
    assert lookup.find_to_change(spool, TIMESTAMP).name.id == TIMESTAMP


@pytest.mark.parametrize(
    "act",
    [
        lambda spool: spool.get("nightly-1"),
        lambda spool: spool.runs("nightly-1"),
        lambda spool: spool.cancel("nightly-1"),
        lambda spool: spool.retry("nightly-1"),
        lambda spool: spool.wait("nightly-1", timeout=0),
        lambda spool: spool.wait_all(["nightly-10", "nightly-1"], timeout=0),
        lambda spool: actions.cancel(spool, "nightly-1"),
    ],
)
@pytest.mark.parametrize("state", ["pending", "dead"])
def test_the_library_takes_whole_ids_only(spool, path, act, state):
    put(spool, "nightly-10", state)

    with pytest.raises(NoSuchJob, match="did you mean 'nightly-10'"):
        act(spool)
    assert ids_in(path, state) == ["nightly-10"]


# -- jobs that move between the look and the deed


@pytest.mark.parametrize(
    ("words", "state", "becomes"),
    [
        ("dlq retry a", "dead", "pending"),
        ("dlq retry --all", "dead", "pending"),
        ("dlq purge a --yes", "dead", None),
        ("dlq purge --all --yes", "dead", None),
        ("retry a", "failed", "pending"),
        ("remove a", "completed", None),
        ("remove --state completed --yes", "completed", None),
        ("cancel a", "pending", "dead"),
        ("hold a", "pending", "held"),
        ("release a", "held", "pending"),
        ("set a --priority 3", "pending", "pending"),
    ],
)
def test_a_command_follows_a_job_that_moves(spool, path, snatch, capsys, words, state, becomes):
    put(spool, "a", state)
    snatch("a")

    assert cli.invoke(["--spool", str(path), *words.split()]) == 0

    out, err = capsys.readouterr()
    assert (out.split()[0], err) == ("a", "")
    assert spool.state_of("a") == becomes


@pytest.fixture
def desk(spool):
    counter = Counter(spool)
    counter.receive()
    yield Desk(spool, Options(allow_actions=True), counter)
    counter.close()


@pytest.mark.parametrize(
    ("verb", "state", "becomes"),
    [
        ("retry", "dead", "pending"),
        ("retry", "failed", "pending"),
        ("run", "pending", "pending"),
        ("hold", "pending", "held"),
        ("release", "held", "pending"),
        ("priority", "pending", "pending"),
        ("cancel", "pending", "dead"),
        ("remove", "completed", None),
    ],
)
def test_the_dashboard_follows_a_job_that_moves(spool, desk, snatch, verb, state, becomes):
    put(spool, "a", state)
    snatch("a")

    assert deeds.do_all(desk, verb, [("a", "")], 3) == (["a"], {})
    assert spool.state_of("a") == becomes


def test_the_library_follows_a_job_that_moves(spool, snatch):
    put(spool, "a", "dead")
    snatch("a")
    spool.retry("a")
    assert spool.state_of("a") == "pending"
    snatch("a")
    assert spool.cancel("a")


def test_a_job_that_moves_out_of_the_choice_is_left_alone(spool, path, monkeypatch, capsys):
    """`remove --state dead` beside somebody who brings the job back."""
    put(spool, "a", "dead")
    real = disk.rename

    def rename(source, target):
        monkeypatch.setattr(disk, "rename", real)
        [entry] = spool.entries_of("a")
        actions.revive(spool, entry)
        return real(source, target)

    for words in ("remove --state dead --yes", "dlq purge --all --yes"):
        monkeypatch.setattr(disk, "rename", rename)
        assert cli.invoke(["--spool", str(path), *words.split()]) == 0
        assert spool.state_of("a") == "pending"
        [entry] = spool.entries_of("a")
        spool.move(entry, "dead", entry.name)
    monkeypatch.setattr(disk, "rename", rename)
    assert cli.invoke(["--spool", str(path), "remove", "a", "--state", "dead"]) == 1
    assert "is pending by now" in capsys.readouterr().err
    assert spool.state_of("a") == "pending"


def test_a_job_that_moves_before_it_is_read_is_read_where_it_is(spool, path, monkeypatch):
    put(spool, "a")
    real = lookup.read

    def read(spool, file):
        monkeypatch.setattr(lookup, "read", real)
        [entry] = spool.entries_of("a")
        actions.cancel(spool, "a", entry)
        return real(spool, file)

    monkeypatch.setattr(lookup, "read", read)
    view = spool.get("a")
    assert (view.state, view.command) == ("dead", "true")

    spool.retry("a")
    monkeypatch.setattr(lookup, "read", read)
    assert Selection(spool, ids=["a"], name="*").find("a").state == "dead"


def test_a_schedule_that_somebody_turns_meanwhile_is_not_called_missing(spool, path, monkeypatch):
    timetable.add(spool, "s", Schedule(every=3600, job={"command": "true"}))
    timetable.pause(spool, "s")
    read = timetable.read

    def moved(spool, kept):
        monkeypatch.setattr(timetable, "read", read)
        timetable.resume(spool, "s")
        return read(spool, kept)

    assert timetable.look_at(spool, "s", moved).job
    (path / timetable.find(spool, "s").file).unlink()
    with pytest.raises(NoSuchSchedule):
        timetable.run(spool, "s")


# -- workers


@pytest.fixture
def elsewhere(spool, path):
    """The record of a worker on another host."""
    record = {
        "worker": "mars-12-0a1b2c",
        "host": "mars",
        "boot": "b",
        "space": "1",
        "pid": 12,
        "supervisor": "",
        "supervisor_pid": 12,
        "started_at": 1.0,
    }
    file = path / "workers" / "mars-12-0a1b2c.json"
    file.write_text(json.dumps(record))
    os.utime(file, (1, 1))  # before the last boot: one that beats since then is alive


@pytest.mark.parametrize("text", ["mars-1", "mar"])
def test_a_part_of_a_host_or_a_pid_stops_no_worker(spool, elsewhere, text):
    with pytest.raises(NoSuchWorker, match="did you mean 'mars-12-0a1b2c'"):
        stopping.stop(spool, 0, now=False, chosen=stopping.Chosen(names=(text,)))


@pytest.mark.parametrize("text", ["mars", "mars-12", "mars-12-0a", "mars-12-0a1b2c"])
def test_a_worker_is_meant_by_its_name_or_by_whole_parts_of_it(spool, elsewhere, text):
    # It is known, and dead: nobody is left to stop.
    chosen = stopping.Chosen(names=(text,))
    assert stopping.stop(spool, 0, now=False, chosen=chosen) == ([], [])
