"""A full disk, for real: a small tmpfs, filled and freed again."""

import contextlib
import logging
import os
import signal
import subprocess
from pathlib import Path

import pytest

from queuectl import Spool, results
from queuectl.host import is_running
from tests.support import Command, Workers, ids_in, names, until


@pytest.fixture
def small(tmp_path):
    """A spool on a file system of 2 MB of its own."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no mount of our own here: {mounted.stderr.strip()}")
    try:
        yield Spool(place / "spool").make()
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(spool):
    """Take all the room there is."""
    with open(f"{spool.path}/../ballast", "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def free(spool):
    """Give it back."""
    os.unlink(f"{spool.path}/../ballast")


def everything(path):
    return sorted(str(place) for place in path.rglob("*"))


def test_an_enqueue_on_a_full_disk_is_refused_cleanly(small, tmp_path):
    path = tmp_path / "small" / "spool"
    queuectl = Command(path)
    fill(small)
    before = everything(path)

    for words in (
        ["enqueue", "-c", "true"],
        ["enqueue", "--id", "a", "-c", "true"],
        ["config", "set", "timeout", "5"],
    ):
        error = queuectl.refusal(*words, code=1)
        assert f"{path}/tmp/" in error
        assert "make room" in error
    done = queuectl.run(
        "enqueue", "-", input='{"command": "true", "id": "b"}\n' * 1 + '{"command": "true"}\n' * 50
    )
    assert (done.returncode, done.stdout) == (1, "")

    assert [place for place in everything(path) if not place.endswith(".lock")] == before
    free(small)
    queuectl("enqueue", "--id", "a", "-c", "true")


def test_a_claimed_job_whose_outcome_cannot_be_written_stays_claimed_until_there_is_room(
    small, tmp_path
):
    path = tmp_path / "small" / "spool"
    queuectl = Command(path)
    queuectl(
        "enqueue",
        "--id",
        "a",
        "-c",
        f"echo x >> {tmp_path}/ran; until test -e {tmp_path}/go; do sleep 0.02; done",
    )
    with Workers(path) as workers:
        until((tmp_path / "ran").exists)
        fill(small)
        (tmp_path / "go").touch()
        until(lambda: workers.events("stuck"))
        assert ids_in(path, "processing") == ["a"]
        free(small)
        until(lambda: ids_in(path, "completed") == ["a"])
    assert len(workers.events("stuck")) == 1
    assert (tmp_path / "ran").read_text() == "x\n"
    assert queuectl.json("show", "a")["runs"][0]["outcome"] == "completed"


class Impatient(logging.Handler):
    """Ctrl+C at the first complaint."""

    def emit(self, record):
        raise KeyboardInterrupt


def test_a_program_that_is_interrupted_while_a_hook_note_finds_no_room_leaves_job_and_note(small):
    path = Path(small.path)
    (path / "hooks").mkdir(mode=0o700)
    (path / "hooks" / "completed").write_text("#!/bin/sh\n")
    (path / "hooks" / "completed").chmod(0o700)
    small.enqueue("true", id="a")
    consumer, impatient = small.consume(), Impatient()
    with next(consumer) as job:
        job.retry(after=0)  # so that the history of the job is there, and only the note needs room
    job = next(consumer)
    logging.getLogger("queuectl").addHandler(impatient)
    try:
        with without_names(path.parent), pytest.raises(KeyboardInterrupt), job:
            pass
    finally:
        logging.getLogger("queuectl").removeHandler(impatient)
    assert ids_in(path, "processing") == ["a"]

    consumer.close()

    [name] = names(path, "completed")
    assert names(path, "hooks/due") == [f"completed~{name}"]
    assert [run["outcome"] for run in results.read(small.at("results"), "a")] == [
        "failed",
        "completed",
    ]


def test_a_command_that_fills_the_disk_is_recorded_and_the_queue_goes_on_when_there_is_room(
    small, tmp_path
):
    """Its output leaves room for the record."""
    path = tmp_path / "small" / "spool"
    queuectl = Command(path)
    queuectl("config", "set", "max_output", "5000000")
    queuectl("enqueue", "--id", "flood", "--max-retries", "1", "-c", "yes")
    queuectl("enqueue", "--id", "next", "--priority", "1", "-c", "true")
    with Workers(path) as workers:
        until(lambda: ids_in(path, "dead") == ["flood"])
        until(lambda: workers.events("stuck"))
        [run] = queuectl.json("show", "flood")["runs"]
        assert "printed more than" in run["reason"]
        kept = (path / "logs" / "flood.1.out").stat().st_size
        assert kept + run["output_lost"] == 5_000_000
        assert ids_in(path, "pending") == ["next"]

        (path / "logs" / "flood.1.out").unlink()
        until(lambda: ids_in(path, "completed") == ["next"])
    assert len(workers.events("stuck")) == 1


def test_a_worker_that_waits_for_room_for_an_outcome_ends_when_it_is_told_to(small, tmp_path):
    path = tmp_path / "small" / "spool"
    queuectl = Command(path)
    queuectl("config", "set", "shutdown_grace", "0.5")
    waits = f"until test -e {tmp_path}/go; do sleep 0.02; done"
    queuectl("enqueue", "--id", "a", "-c", f"touch {tmp_path}/ran; {waits}")
    with Workers(path) as workers:
        until((tmp_path / "ran").exists)
        fill(small)
        (tmp_path / "go").touch()
        until(lambda: workers.events("stuck"))
        workers.process.terminate()
        assert workers.process.wait(30) == 0
        assert ids_in(path, "processing") == ["a"]
        free(small)
    queuectl("worker", "start", "--drain")
    assert ids_in(path, "completed") == ["a"]


def test_a_limit_of_the_output_ends_the_command_as_failed(queuectl, path):
    queuectl("config", "set", "max_output", "100000")
    queuectl("enqueue", "--id", "flood", "--max-retries", "1", "-c", "yes")
    queuectl("enqueue", "--id", "quiet", "-c", "sleep 0.5; echo fine")

    queuectl("worker", "start", "--drain", "--count", "2")

    [run] = queuectl.json("show", "flood")["runs"]
    assert run["outcome"] == "failed"
    assert run["reason"].startswith("printed more than max_output allows")
    assert (path / "logs" / "flood.1.out").stat().st_size == 100_000
    assert ids_in(path, "completed") == ["quiet"]


@contextlib.contextmanager
def without_names(mount):
    """No inode is left in this file system."""
    used = int(
        subprocess.run(
            ["df", "--output=iused", mount], check=True, capture_output=True, text=True
        ).stdout.split()[1]
    )
    subprocess.run(["mount", "-o", f"remount,nr_inodes={used}", mount], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,nr_inodes=100000", mount], check=True)


def beats(path, count):
    """Wait for so many heartbeats of the only worker."""
    for _ in range(count):
        [record] = (path / "workers").glob("*.json")
        before = record.stat().st_mtime_ns
        until(lambda record=record, before=before: record.stat().st_mtime_ns != before)


def test_a_worker_that_cannot_make_logs_takes_no_other_job_and_says_so_once(small, tmp_path):
    path = tmp_path / "small" / "spool"
    queuectl = Command(path)
    queuectl("config", "set", "heartbeat_interval", "0.5")
    for _ in range(3):
        queuectl("enqueue", "-c", f"echo x | tee -a {tmp_path}/ran")
        queuectl("enqueue", "--delay", "1", "-c", f"echo x | tee -a {tmp_path}/ran")
    with Workers(path) as workers:
        workers.up()
        until(lambda: len(names(path, "completed")) == 6)
        with without_names(path.parent):
            for name in names(path, "completed"):
                os.rename(path / "completed" / name, path / "pending" / name)
            until(lambda: workers.events("stuck"))
            beats(path, 6)
            assert [len(workers.events(what)) for what in ("stuck", "unstuck")] == [1, 0]
        until(lambda: len(names(path, "completed")) == 6)
    assert [len(workers.events(what)) for what in ("stuck", "unstuck", "worker_died")] == [1, 1, 0]
    assert (tmp_path / "ran").read_text() == "x\n" * 12
    lost = [run for run in runs(small) if "output_lost" in run]
    assert len(lost) == 1


def runs(spool):
    """All that was recorded."""
    files = os.listdir(f"{spool.path}/results")
    return [run for file in files for run in results.read(f"{spool.path}/results", file[:-6])]


@contextlib.contextmanager
def without_room_for_a_worker(path, workers):
    """The only worker dies, and no other finds a name left for its files."""
    [record] = workers.up()
    until((path / "processing" / record["worker"]).is_dir)  # it comes after the record
    workers.process.send_signal(signal.SIGSTOP)
    os.kill(record["pid"], signal.SIGKILL)
    for file in (path / "workers").glob(record["worker"] + ".*"):
        file.unlink()
    (path / "processing" / record["worker"]).rmdir()
    with without_names(path.parent):
        workers.process.send_signal(signal.SIGCONT)
        until(lambda: workers.events("stuck"))
        yield


def test_a_worker_that_is_born_on_a_full_disk_waits_for_room(small, tmp_path):
    path = tmp_path / "small" / "spool"
    with Workers(path) as workers:
        with without_room_for_a_worker(path, workers):
            pass
        Command(path)("enqueue", "--id", "a", "-c", "true")
        until(lambda: ids_in(path, "completed") == ["a"])
    assert [len(workers.events(what)) for what in ("stuck", "worker_died")] == [1, 1]


def test_a_worker_that_waits_for_room_to_be_born_can_be_stopped(small, tmp_path):
    path = tmp_path / "small" / "spool"
    with Workers(path) as workers, without_room_for_a_worker(path, workers):
        workers.process.terminate()
        assert workers.process.wait(30) == 0


def test_a_worker_that_waits_for_room_to_be_born_ends_with_its_supervisor(small, tmp_path):
    path = tmp_path / "small" / "spool"
    with Workers(path) as workers, without_room_for_a_worker(path, workers):
        [stuck] = workers.events("stuck")
        os.kill(workers.process.pid, signal.SIGKILL)
        workers.process.wait(10)

        until(lambda: not is_running(stuck["pid"]))


def test_a_spool_without_room_for_another_name_puts_the_job_back_uncounted(small, tmp_path):
    """No inode left: the logs cannot be made, and that is not the job's fault."""
    path = tmp_path / "small" / "spool"
    queuectl = Command(path)
    queuectl("enqueue", "--id", "a", "-c", f"echo x >> {tmp_path}/ran")
    subprocess.run(
        [
            "mount",
            "-o",
            f"remount,nr_inodes={sum(1 for _ in path.parent.rglob('*')) + 8}",
            path.parent,
        ],
        check=True,
    )
    with Workers(path) as workers:
        workers.up()
        until(lambda: workers.events("stuck") or ids_in(path, "completed"))
        subprocess.run(["mount", "-o", "remount,nr_inodes=10000", path.parent], check=True)
        until(lambda: ids_in(path, "completed") == ["a"])
    assert (tmp_path / "ran").read_text() == "x\n"
