"""Who is alive, and what becomes of what the dead held."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys

import pytest

from queuectl import Spool, disk, host, liveness, lookup, recovery
from queuectl.processes import of_worker
from tests.support import ids_in, names, until

SLEEPER = "import time; time.sleep(600)"


LOCKS = {}


@pytest.fixture
def worker(spool):
    """A worker of this process: it lives, and holds its lock."""
    record, LOCKS[spool.path] = liveness.enroll(spool, "super-1-abc", os.getpid())
    yield record
    die(spool)


def claim(spool, worker, id="a", **fields):
    spool.enqueue({"command": "true", "id": id, **fields})
    [entry] = spool.entries_of(id)
    return spool.claim(entry.file, worker.worker, 1_795_342_502.5)


def die(spool):
    """Let go of the lock as the kernel does at a death."""
    lock = LOCKS.pop(spool.path, None)
    if lock is not None:
        os.close(lock)


def test_a_worker_that_holds_its_lock_is_alive_however_long_it_is_silent(spool, path, worker):
    os.utime(path / "workers" / f"{worker.worker}.json", (1, 1))

    assert liveness.Observer(spool).is_alive(worker.worker, worker)


def test_a_worker_whose_lock_is_free_is_dead_at_once(spool, worker):
    die(spool)

    assert not liveness.Observer(spool).is_alive(worker.worker, worker)


def test_who_only_asks_whether_a_worker_lives_is_not_taken_for_it(spool, path, worker):
    die(spool)
    lock = path / "workers" / f"{worker.worker}.lock"
    with lock.open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)

        assert disk.is_held(str(lock)) is False


def test_a_file_system_that_cannot_lock_says_of_nobody_that_it_lives(
    spool, path, worker, monkeypatch
):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(disk.fcntl, "flock", refuse)

    with pytest.raises(OSError, match="no locks available"):
        disk.is_held(str(path / "workers" / f"{worker.worker}.lock"))


def test_a_worker_that_still_has_a_job_is_not_forgotten(spool, path, worker):
    claim(spool, worker)

    assert not liveness.dismiss(spool, worker.worker)

    assert liveness.read(spool, worker.worker) == worker
    assert (path / "workers" / f"{worker.worker}.lock").exists()


def test_the_lock_of_a_worker_that_has_a_directory_is_none_of_the_stillborn(spool, path, worker):
    """Without its record it tells the rescue that this worker is dead."""
    lock = path / "workers" / f"{worker.worker}.lock"
    die(spool)
    (path / "workers" / f"{worker.worker}.json").unlink()
    os.utime(lock, (1, 1))
    assert liveness.leftovers(spool) == []

    (path / "processing" / worker.worker).rmdir()

    assert liveness.leftovers(spool) == [str(lock)]


def test_a_worker_of_another_boot_of_this_machine_is_dead_on_a_local_disk(spool, path, worker):
    observer = liveness.Observer(spool)
    beat = path / "workers" / f"{worker.worker}.json"
    os.utime(beat, (0, host.booted_at() - 1))

    assert not observer.is_alive(worker.worker, worker._replace(boot="another"))


def test_a_worker_of_another_boot_that_beats_is_alive_whatever_the_disk_seems_to_be(
    spool, path, worker
):
    """Two hosts on one directory, of which nobody knew."""
    spool._flags = {"worker_lost_after": 0.05, "heartbeat_interval": 0.01}
    observer, elsewhere = liveness.Observer(spool), worker._replace(boot="another")

    assert observer.is_alive(worker.worker, elsewhere)
    until(lambda: not observer.is_alive(worker.worker, elsewhere))
    os.utime(path / "workers" / f"{worker.worker}.json")
    assert observer.is_alive(worker.worker, elsewhere)


def test_a_supervisor_of_another_boot_that_beats_is_alive(spool, path):
    lock = liveness.enroll_supervisor(spool, "super-1-abc")
    file = path / "workers" / "super-1-abc.supervisor"
    file.write_text(json.dumps({**json.loads(file.read_text()), "boot": "another"}))
    observer = liveness.Observer(spool)

    assert liveness.is_supervising(spool, observer, "super-1-abc")
    os.utime(file, (0, host.booted_at() - 1))
    assert not liveness.is_supervising(spool, observer, "super-1-abc")
    os.close(lock)


def test_a_worker_of_another_host_is_judged_by_whether_its_heart_beats(spool, path, worker):
    spool._flags = {"worker_lost_after": 0.05, "heartbeat_interval": 0.01}
    observer = liveness.Observer(spool)
    observer.is_shared = True
    beat = path / "workers" / f"{worker.worker}.json"
    elsewhere = liveness.Record(
        **{**json.loads(beat.read_text()), "host": "other", "boot": "another"}
    )

    assert observer.is_alive(worker.worker, elsewhere)
    until(lambda: not observer.is_alive(worker.worker, elsewhere))
    os.utime(beat, (1, 1))  # by whatever clock: it changes
    assert observer.is_alive(worker.worker, elsewhere)


def test_a_living_worker_is_left_alone(spool, path, worker):
    claim(spool, worker)

    assert recovery.rescue(spool, liveness.Observer(spool)) == []
    assert len(names(path, "processing")) == 1


def test_a_job_without_a_record_is_lost_with_its_worker_and_retried_at_once(spool, path, worker):
    claimed = claim(spool, worker)
    die(spool)

    [rescued] = recovery.rescue(spool, liveness.Observer(spool))

    assert (rescued.id, rescued.outcome) == ("a", "lost")
    assert "-a1-a.json" in names(path, "failed")[0]
    [run] = lookup.runs(spool, lookup.find(spool, "a"))
    assert (run["outcome"], run["claim"], run["to"]) == (
        "lost",
        claimed.file,
        f"failed/{names(path, 'failed')[0]}",
    )
    assert not (path / "processing" / worker.worker).exists()
    assert os.listdir(path / "workers") == []


def test_a_lost_attempt_counts_so_that_a_poison_job_dies(spool, path, worker):
    claim(spool, worker, max_retries=1)
    die(spool)

    recovery.rescue(spool, liveness.Observer(spool))

    assert ids_in(path, "dead") == ["a"]


def test_a_job_with_a_record_gets_the_move_that_the_record_names(spool, path, worker):
    claimed = claim(spool, worker)
    target = spool.target(claimed, "completed", 1_795_342_503.5)
    recovery.results.append(
        spool.at("results"), "a", recovery.blank(claimed, target) | {"outcome": "completed"}
    )
    die(spool)

    recovery.rescue(spool, liveness.Observer(spool))

    assert names(path, "completed") == [os.path.basename(target)]
    assert len(lookup.runs(spool, lookup.find(spool, "a"))) == 1


def test_a_record_of_an_earlier_claim_decides_nothing(spool, path, worker):
    claimed = claim(spool, worker)
    old = recovery.blank(
        claimed._replace(file="processing/gone/20200101T000000.000000Z-p5-a1-a.json"), "completed/x"
    )
    recovery.results.append(spool.at("results"), "a", old | {"outcome": "completed"})
    die(spool)

    recovery.rescue(spool, liveness.Observer(spool))

    assert ids_in(path, "failed") == ["a"]


def test_a_torn_record_counts_as_none(spool, path, worker):
    claimed = claim(spool, worker)
    (path / "results" / "a.jsonl").write_text('{"claim": "' + claimed.file)
    die(spool)

    recovery.rescue(spool, liveness.Observer(spool))

    assert ids_in(path, "failed") == ["a"]
    torn, lost = lookup.runs(spool, lookup.find(spool, "a"))
    assert "torn" in torn["reason"]
    assert lost["outcome"] == "lost"


def test_a_drop_that_the_dead_was_admitting_is_pending_again(spool, path, worker):
    (path / "processing" / worker.worker / "x.json").write_text('{"command": "true"}')
    die(spool)

    recovery.rescue(spool, liveness.Observer(spool))

    assert [(path / "pending" / name).read_text() for name in names(path, "pending")] == [
        '{"command": "true"}'
    ]


def test_a_dead_workers_commands_are_ended_before_its_jobs_go_on(spool, path, worker):
    claim(spool, worker)
    env = {
        **os.environ,
        "QUEUECTL_WORKER": worker.worker,
        "QUEUECTL_JOB_ID": "a",
        "QUEUECTL_ATTEMPT": "1",
    }
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN);" + SLEEPER],
        env=env,
        start_new_session=True,
    )
    until(lambda: of_worker(worker.worker) == [orphan.pid])
    die(spool)

    recovery.rescue(spool, liveness.Observer(spool))

    assert orphan.wait(10) < 0
    assert ids_in(path, "failed") == ["a"]


@pytest.fixture
def command(worker):
    """Start the command of a run of job a, for the spool at a path; its process is ended at last."""
    started = []

    def start(spool, **options):
        run = {"QUEUECTL_WORKER": worker.worker, "QUEUECTL_JOB_ID": "a", "QUEUECTL_ATTEMPT": "1"}
        named = {} if spool is None else {"QUEUECTL_SPOOL": str(spool)}
        words = [sys.executable, "-c", SLEEPER]
        started.append(subprocess.Popen(words, env={**os.environ, **run, **named}, **options))
        until(lambda: of_worker(worker.worker) == [started[-1].pid])
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_command_of_another_spool_is_left_alone_by_the_rescue_in_a_copy(
    spool, path, worker, command, tmp_path
):
    claim(spool, worker)
    shutil.copytree(path, tmp_path / "copy")
    process = command(path)

    copy = Spool(tmp_path / "copy")
    [rescued] = recovery.rescue(copy, liveness.Observer(copy))

    assert (rescued.id, copy.state_of("a"), spool.state_of("a")) == ("a", "failed", "processing")
    assert process.poll() is None


def renamed(spool, path, tmp_path):
    """The spool has another name since the command began."""
    path.rename(tmp_path / "moved")
    return path, tmp_path / "moved"


def restored(spool, path, tmp_path):
    """A copy has taken the place of the spool for which the command began."""
    shutil.copytree(path, tmp_path / "copy")
    shutil.rmtree(path)
    (tmp_path / "copy").rename(path)
    return path, path


def linked(spool, path, tmp_path):
    """The command was started by way of a symbolic link."""
    (tmp_path / "link").symlink_to(path)
    return tmp_path / "link", path


def unnamed(spool, path, tmp_path):
    """The command does not say for which spool it runs."""
    return None, path


@pytest.mark.parametrize("change", [renamed, restored, linked, unnamed])
def test_an_orphan_is_ended_by_whatever_name_its_spool_goes(
    spool, path, worker, command, tmp_path, change
):
    claim(spool, worker)
    die(spool)
    theirs, ours = change(spool, path, tmp_path)
    process = command(theirs)

    here = Spool(ours)
    recovery.rescue(here, liveness.Observer(here))

    assert process.wait(10) < 0
    assert here.state_of("a") == "failed"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount")
def test_in_a_container_a_path_means_what_the_container_mounts_there(
    spool, path, worker, command, tmp_path
):
    claim(spool, worker)
    die(spool)
    (tmp_path / "other").mkdir()
    enter = f"mount --bind {path} {tmp_path}/other && exec {sys.executable} -c '{SLEEPER}'"
    run = {"QUEUECTL_WORKER": worker.worker, "QUEUECTL_JOB_ID": "a", "QUEUECTL_ATTEMPT": "1"}
    env = {**os.environ, **run, "QUEUECTL_SPOOL": str(tmp_path / "other")}
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", enter], env=env)
    mounted = f"/proc/{process.pid}/root{tmp_path}/other/spool.json"
    until(lambda: os.path.exists(mounted))

    recovery.rescue(spool, liveness.Observer(spool))

    assert process.wait(10) < 0


def test_a_job_whose_command_nothing_can_end_yet_does_not_run_beside_it(
    spool, path, worker, monkeypatch
):
    """It waits for a dead disk, and not even KILL reaches it."""
    claim(spool, worker)
    die(spool)
    with monkeypatch.context() as patch:
        patch.setattr(recovery.processes, "end_all", lambda *_: False)
        assert recovery.rescue(spool, liveness.Observer(spool)) == []
    assert ids_in(path, "processing") == ["a"]

    recovery.rescue(spool, liveness.Observer(spool))

    assert ids_in(path, "failed") == ["a"]


def test_a_directory_without_a_record_is_rescued_only_after_a_while(spool, path):
    (path / "processing" / "gone-1-abc").mkdir()
    (path / "processing" / "gone-1-abc" / "20261122T101502.123456Z-p5-a1-a.json").write_text(
        '{"command": "true"}'
    )
    spool._flags = {"worker_lost_after": 0.05, "heartbeat_interval": 0.01}
    observer = liveness.Observer(spool)

    assert recovery.rescue(spool, observer) == []
    until(lambda: recovery.rescue(spool, observer))
    assert ids_in(path, "failed") == ["a"]


def test_a_record_without_a_directory_is_removed(spool, path, worker):
    (path / "processing" / worker.worker).rmdir()
    die(spool)

    recovery.rescue(spool, liveness.Observer(spool))

    assert os.listdir(path / "workers") == []


def test_two_places_with_one_host_name_are_two_places():
    here = host.place()

    assert str(here) != str(here._replace(space="999"))
    assert str(here) != str(here._replace(boot="ffffffff-0"))


def test_a_job_whose_old_name_a_power_cut_brought_back_is_not_doubled(spool, path, worker):
    claimed = claim(spool, worker)
    os.link(path / claimed.file, path / "pending" / "20261121T000000.000000Z-p5-a0-a.json")
    die(spool)

    assert recovery.rescue(spool, liveness.Observer(spool)) == []

    assert names(path, "processing") == []
    assert names(path, "pending") == ["20261121T000000.000000Z-p5-a0-a.json"]


def test_a_worker_whose_record_a_power_cut_tore_is_dead_when_its_lock_is_free(spool, path, worker):
    claim(spool, worker)
    (path / "workers" / f"{worker.worker}.json").write_text("")
    assert recovery.rescue(spool, liveness.Observer(spool)) == []
    die(spool)

    recovery.rescue(spool, liveness.Observer(spool))

    assert ids_in(path, "failed") == ["a"]
    assert os.listdir(path / "workers") == []


def test_what_an_earlier_boot_of_this_host_left_in_tmp_is_swept_at_once(spool, path):
    here = host.place()
    left = path / "tmp" / f"{os.getpid()}~{here._replace(boot='00000000-0')}~1abc"
    left.touch()
    assert spool.sweep() == 0  # it came after this boot: another host has this name
    os.utime(left, (0, host.booted_at() - 1))

    assert spool.sweep() == 1


@pytest.mark.parametrize("name", ["gone-1-abc.lock", "gone-1-abc.supervisor"])
def test_what_the_stillborn_left_is_swept_but_not_that_of_a_newborn(spool, path, name):
    (path / "workers" / name).touch()
    liveness.sweep(spool)
    assert os.listdir(path / "workers") == [name]
    os.utime(path / "workers" / name, (1, 1))

    liveness.sweep(spool)

    assert os.listdir(path / "workers") == []


def test_the_file_of_a_living_supervisor_is_not_swept(spool, path):
    lock = liveness.enroll_supervisor(spool, "super-1-abc")
    os.utime(path / "workers" / "super-1-abc.supervisor")

    liveness.sweep(spool)
    assert [who.worker for who in liveness.supervisors(spool)] == ["super-1-abc"]
    os.close(lock)
    liveness.sweep(spool)

    assert os.listdir(path / "workers") == []


def test_a_worker_that_cannot_write_its_record_leaves_nothing(spool, path):
    (path / "processing").rmdir()
    (path / "processing").touch()

    with pytest.raises(NotADirectoryError):
        liveness.enroll(spool, "super-1-abc", os.getpid())

    assert os.listdir(path / "workers") == []


def test_what_other_programs_left_in_tmp_stops_no_sweep_and_is_never_run(spool, path):
    (path / "tmp" / "x.pending").write_text("theirs")
    (path / "tmp" / "batch.pending").mkdir()
    (path / "tmp" / "batch.pending" / "job.json").write_text('{"command": "true"}')
    for name in ("x.pending", "batch.pending"):
        os.utime(path / "tmp" / name, (1, 1))

    assert spool.sweep() == 1
    assert os.listdir(path / "tmp") == ["batch.pending"]
    assert names(path, "pending") == []


def test_a_record_with_values_of_other_kinds_is_no_record(spool, path):
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    file = path / "workers" / f"{record.worker}.json"
    for odd in ({"pid": "1"}, {"pid": None}, {"host": 7}, {"started_at": "now"}, {"worker": []}):
        file.write_text(json.dumps({**record._asdict(), **odd}))
        assert liveness.read(spool, record.worker) is None
    os.close(lock)


def test_what_ended_jobs_of_a_dead_worker_left_running_on_purpose_goes_on(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    [entry] = spool.entries_of("a")
    assert spool.claim(entry.file, record.worker, 1_795_342_502.5)
    variables = {
        "QUEUECTL_WORKER": record.worker,
        "QUEUECTL_JOB_ID": "ended",
        "QUEUECTL_ATTEMPT": "1",
    }
    daemon = subprocess.Popen(["sleep", "600"], env={**os.environ, **variables})
    try:
        os.close(lock)
        assert recovery.rescue(spool, liveness.Observer(spool))
        assert daemon.poll() is None
    finally:
        daemon.kill()
        daemon.wait()


def test_of_two_records_of_one_claim_that_of_the_zombie_is_superseded_wherever_the_job_went_since(
    spool, worker
):
    claimed = claim(spool, worker)
    moved, dreamt = spool.target(claimed, "failed", 5.0), spool.target(claimed, "completed", 6.0)
    for target in (moved, dreamt):
        recovery.results.append(spool.at("results"), "a", recovery.blank(claimed, target))
    assert spool.file(claimed, moved)

    def superseded():
        return [run["superseded"] for run in lookup.runs(spool, lookup.find(spool, "a"))]

    assert superseded() == [False, True]
    [entry] = spool.entries("failed")
    spool.move(entry, "pending", entry.name)
    assert superseded() == [False, True]
