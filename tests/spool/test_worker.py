"""A worker of its own: what it tells its supervisor, and what it leaves of its runs."""

import errno
import os
import signal

import filelock
import pytest

from queuectl import (
    admission,
    cancellation,
    config,
    disk,
    executor,
    gate,
    limits,
    liveness,
    lookup,
    results,
    signals,
)
from queuectl.log import Log
from queuectl.signals import Listener
from queuectl.wire import Message, pair
from queuectl.worker import Worker
from tests.support import ids_in, names


@pytest.fixture
def line():
    here, there = pair()
    yield here, there
    here.close()
    there.close()


@pytest.fixture
def worker(spool, line, monkeypatch):
    monkeypatch.setattr(signals, "_TAKES", False)  # a test has other threads, which would take them
    listener = Listener()
    record, lock = liveness.enroll(spool, "super-1-abc", os.getppid())
    log = os.open(os.devnull, os.O_WRONLY)
    yield Worker(spool, record, line[0], Log(log, "json"), listener)
    listener.close()
    for fd in (lock, log):
        os.close(fd)


def follow(worker, spool, command):
    """Give it the name of a job that is not the last it has."""
    id = spool.enqueue(command)
    [entry] = spool.entries_of(id)
    worker._follow(Message("claim", entry.file), last=False)


def work_through(worker, *files):
    """Let it work through these names, all that its supervisor gives it."""
    worker.line, there = pair()
    for file in files:
        there.put_off("claim", file)
    there.flush()
    there.close()
    worker.run()
    worker.line.close()


def test_outcomes_are_announced_before_a_job_that_lasts(spool, worker, line, monkeypatch):
    """Else nobody makes them durable while it runs: the supervisor hears nothing until all names are used up."""
    worker.announced = float("inf")  # no time passes
    monkeypatch.setattr("queuectl.worker.ANNOUNCE", float("inf"))
    follow(worker, spool, "true")
    assert worker.filed
    follow(worker, spool, "sleep 0.2")

    assert [message.verb for message in line[1].receive()] == ["filed"]


def test_outcomes_are_announced_while_many_short_jobs_follow_each_other(spool, worker, line):
    worker.announced = 0.0  # long ago
    follow(worker, spool, "true")

    assert [message.verb for message in line[1].receive()] == ["filed"]


def test_a_job_that_prints_nothing_costs_no_log(spool, worker, path):
    follow(worker, spool, "true")
    follow(worker, spool, "echo x")

    assert [name.split(".", 1)[1] for name in names(path, "logs")] == ["1.out"]


def test_output_that_a_full_disk_lost_is_counted_and_the_other_stream_is_kept(
    spool, worker, path, monkeypatch
):
    """The worker takes no other job until the disk has room."""
    real = disk.create
    waited = []

    def full(path):
        if path.endswith(".err"):
            refuse()
        return real(path)

    monkeypatch.setattr(disk, "create", full)
    monkeypatch.setattr("queuectl.worker.PATIENCE", 0.01)
    monkeypatch.setattr(worker.attempts, "is_possible", lambda _: waited.append(1) or True)
    follow(worker, spool, {"command": "echo out; echo err >&2", "id": "a"})

    [run] = results.read(spool.at("results"), "a")
    assert (run["stdout_tail"], run["stderr_tail"]) == ("out\n", "err\n")
    assert (run["outcome"], run["output_lost"]) == ("completed", 4)
    assert names(path, "logs") == ["a.1.out"]
    assert waited == [1]


@pytest.mark.parametrize("verb", ["claim", "settle"])
def test_a_lock_that_nobody_lets_go_of_costs_a_job_no_attempt_and_a_worker_not_its_life(
    spool, worker, path, monkeypatch, verb
):
    """The id of the job was that of one that was removed by hand, so that it is looked for under the lock of ids/."""
    spool.enqueue({"command": "true", "id": "a"})
    (path / "pending" / names(path, "pending")[0]).unlink()
    name = "20260101T000000.000000Z-p5-a0-a.json" if verb == "claim" else "a.json"
    (path / "pending" / name).write_text('{"command": "true", "id": "a"}')
    monkeypatch.setattr("queuectl.worker.PATIENCE", 0.01)
    monkeypatch.setattr(
        config,
        "locked",
        lambda path, real=config.locked, **_: real(path, shared=False, patience=0.05),
    )
    with filelock.FileLock(path / "ids" / ".lock", is_singleton=False):
        worker._follow(Message(verb, f"pending/{name}" if verb == "claim" else name), last=False)
    [left] = names(path, "pending")
    assert "-a0-" in left or left.startswith("a.")
    assert names(path, "rejected") == names(path, "dead") == names(path, "failed") == []


def test_a_name_in_failed_that_only_resembles_ours_keeps_no_drain_waiting(queuectl, path):
    queuectl("init")
    (path / "failed" / "29991301T000000.000000Z-p5-a1-x.json").write_text('{"command": "true"}')
    queuectl("worker", "start", "--drain")


def test_who_began_to_wait_for_a_job_is_woken_before_its_worker_rests(spool, worker, path):
    """A worker that saw nobody wait looks once for all the names that it was given."""
    spool.enqueue_all(
        [{"command": "true", "id": "a"}, {"command": "true", "id": "b", "after": "a"}]
    )
    [first] = spool.entries_of("a")
    worker.gate.tell()
    worker.announced = float("inf")  # no time passes
    (path / "processing" / "other").mkdir()
    [entry] = spool.entries_of("b")
    claim = spool.claim(entry.file, "other", spool.now())
    assert (
        gate.Gate(spool, "other").enter(claim, admission.examine(spool, claim, spool.settings()))
        == "blocked"
    )

    work_through(worker, first.file)

    assert ids_in(path, "pending") == ["b"]


def test_a_job_that_could_not_start_is_given_back_however_long_the_disk_is_full(
    spool, worker, path, monkeypatch
):
    """Else its worker ended, and the rescue counted a run that never was."""
    id = spool.enqueue({"command": "true", "max_retries": 1})
    [entry] = spool.entries_of(id)
    real, left = disk.rename, [1, 1]

    def full(source, target):
        if "/pending/" in target and left:
            left.pop()
            raise OSError(errno.ENOSPC, "full", target)
        return real(source, target)

    def no_room(*_):
        raise executor.Full(errno.EAGAIN, "no process left")

    monkeypatch.setattr(disk, "rename", full)
    monkeypatch.setattr(executor, "run", no_room)
    monkeypatch.setattr("queuectl.worker.PATIENCE", 0.01)
    worker._follow(Message("claim", entry.file), last=False)

    assert left == []
    assert ids_in(path, "pending") == [id]
    assert names(path, "pending")[0].split("-")[2] == "a0"


def refuse(*_):
    raise OSError(errno.ENOSPC, "full")


def test_who_cannot_start_jobs_keeps_no_token_from_others_while_it_waits(
    spool, worker, monkeypatch
):
    free = []
    monkeypatch.setattr("queuectl.worker.PATIENCE", 0.01)
    monkeypatch.setattr(worker.attempts, "begin", refuse)
    monkeypatch.setattr(
        worker.attempts, "is_possible", lambda _: free.extend(limits.free(spool, "x")) or True
    )

    follow(worker, spool, {"command": "true", "limit": "x"})

    assert free == ["1"]


def test_a_stop_is_not_held_up_for_ever_by_an_outcome_that_cannot_be_written(
    spool, worker, path, monkeypatch
):
    """The job stays claimed: its rescue makes the move."""
    rename = disk.rename

    def full(source, target):
        if "/completed/" in target:
            worker.stop(signal.SIGTERM, None)
            refuse()
        return rename(source, target)

    monkeypatch.setattr(disk, "rename", full)
    monkeypatch.setattr("queuectl.worker.PATIENCE", 0.01)
    worker.settings = worker.settings._replace(shutdown_grace=0.05)
    worker.looked = float("inf")

    with pytest.raises(OSError, match="full"):
        follow(worker, spool, {"command": "true", "id": "a"})
    assert ids_in(path, "processing") == ["a"]


def test_a_stop_now_ends_a_worker_that_waits_for_room_for_an_outcome(spool, worker, monkeypatch):
    """Its rescue makes the move then."""
    rename, tries = disk.rename, []

    def full(source, target):
        if "/completed/" in target and len(tries) < 3:
            tries.append(target)
            worker.stop(signal.SIGQUIT, None)
            refuse()
        return rename(source, target)

    monkeypatch.setattr(disk, "rename", full)
    monkeypatch.setattr("queuectl.worker.PATIENCE", 0.01)

    with pytest.raises(OSError, match="full"):
        follow(worker, spool, "true")
    assert len(tries) == 1


def test_a_worker_that_is_told_to_stop_leaves_the_names_that_it_has_not_claimed(
    spool, worker, path, monkeypatch
):
    spool.enqueue_all(["true"] * 3)
    files = [entry.file for entry in spool.entries("pending")]
    taken = []
    monkeypatch.setattr(
        worker, "take", lambda claim: taken.append(claim) or worker.stop(signal.SIGTERM, None)
    )

    work_through(worker, *files)

    assert [claim.name.id for claim in taken] == ids_in(path, "processing")
    assert len(ids_in(path, "pending")) == 2


def test_a_running_job_that_is_to_be_cancelled_is_not_put_back_by_a_stop_that_comes_first(
    spool, worker, path
):
    """The request was seen by nobody yet: no signal announced it."""
    spool.enqueue({"command": "sleep 600", "id": "a"})
    [entry] = spool.entries_of("a")
    claim = spool.claim(entry.file, worker.name, spool.now())
    (path / f"{claim.file}.cancel").touch()

    worker.stop(signal.SIGQUIT, None)
    worker.take(claim)

    assert ids_in(path, "dead") == ["a"]
    assert lookup.last_run(spool, lookup.find(spool, "a"))["outcome"] == "cancelled"


def test_an_announcement_that_fails_halfway_is_no_obstacle_to_a_job_and_made_up_for(
    spool, worker, path, monkeypatch
):
    tell, told = worker.gate.tell, []

    def tell_later():
        told.append(1)
        if len(told) == 1:
            refuse()
        tell()

    monkeypatch.setattr(worker.gate, "tell", tell_later)
    worker.announced = 0.0  # long ago
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")
    work_through(worker, entry.file)

    assert ids_in(path, "completed") == ["a"]
    assert len(told) == 2


def test_a_command_with_a_stdin_leaves_no_descriptor_behind(spool, worker):
    def descriptors():
        follow(worker, spool, {"command": "cat > /dev/null", "stdin": "x"})
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()

    assert descriptors() <= before


def test_names_that_would_wait_behind_a_long_job_are_given_back(spool, worker, path, monkeypatch):
    monkeypatch.setattr("queuectl.worker.HELD", 0.05)
    spool.enqueue("sleep 0.1", id="long")
    [long] = (entry.file for entry in spool.entries("pending"))
    spool.enqueue_all(["true"] * 2)
    others = [entry.file for entry in spool.entries("pending") if entry.file != long]
    told = tell(worker, ("claim", long), *(("claim", file) for file in others))

    assert [text for verb, text in told if verb == "left"] == [f"claim {file}" for file in others]
    assert ids_in(path, "completed") == ["long"]
    assert len(names(path, "pending")) == 2


def tell(worker, *hints):
    """Let it do what it is told; the messages that it sends."""
    here, there = pair()
    worker.line.close()
    worker.line = here
    for verb, text in hints:
        there.put_off(verb, text)
    there.flush()
    os.close(there.writer)
    worker.run()
    told = there.receive()
    os.close(there.reader)
    here.reader, here.writer = os.open(os.devnull, os.O_RDWR), os.open(os.devnull, os.O_RDWR)
    return told


def test_drops_that_take_long_to_admit_are_given_back(spool, worker, path, monkeypatch):
    monkeypatch.setattr("queuectl.worker.AHEAD", -1.0)
    for name in ("a.json", "b.json"):
        (path / "pending" / name).write_text('{"command": "true"}')
    told = tell(worker, ("admit", "a.json"), ("admit", "b.json"))

    assert [verb for verb, _ in told if verb in ("admitted", "left")] == ["admitted", "left"]
    assert ("left", "admit b.json") in told


def test_what_drops_cost_is_no_measure_of_what_jobs_cost(spool, worker, path):
    pace = worker.pace
    (path / "pending" / "a.json").write_text('{"command": "true"}')
    tell(worker, ("admit", "a.json"))

    assert worker.pace == pace


def test_a_drop_that_the_disk_refuses_holds_up_no_other_and_loses_no_grace(
    spool, worker, path, monkeypatch
):
    for name in ("a.json", "b.json", "c.json"):
        (path / "pending" / name).write_text('{"command": "true"}')
    real = disk.rename

    def rename(old, new):
        if old.endswith(("pending/a.json", "pending/b.json")):
            raise OSError(errno.EIO, "input/output error", old)
        return real(old, new)

    monkeypatch.setattr(disk, "rename", rename)
    events = []
    monkeypatch.setattr(worker.log, "event", lambda what, **details: events.append(details))
    told = tell(worker, *(("admit", name) for name in ("a.json", "b.json", "a.json", "c.json")))

    marks = [text.split(" ", 1) for verb, text in told if verb == "broken"]
    assert [drop for _, drop in marks] == ["a.json", "b.json", "a.json"]
    assert len({mark for mark, _ in marks}) == 3, "as if somebody wrote: no grace runs"
    assert [verb for verb, _ in told].count("admitted") == 1
    assert ["a.json" in event["reason"] for event in events] == [True]


def test_a_request_that_its_worker_obeys_at_once_counts_as_asked(spool, path, monkeypatch):
    spool.enqueue({"command": "true", "id": "a"})
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    [entry] = spool.entries_of("a")
    claim = spool.claim(entry.file, record.worker, spool.now())
    [entry] = spool.entries_of("a")
    write = disk.write

    def write_and_obey(file, *more, **options):
        write(file, *more, **options)
        spool.file(claim, spool.target(claim, "dead", spool.now()))
        cancellation.forget(spool, claim.file)

    monkeypatch.setattr(disk, "write", write_and_obey)

    assert cancellation.request(spool, entry)
    assert ids_in(path, "dead") == ["a"]
    os.close(lock)
