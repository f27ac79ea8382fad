"""The doctor: each illness is found, mended without losing a job, and gone at the next visit."""

import errno
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import filelock
import pytest

from queuectl import actions, disk, doctor, host, libc, liveness, renewal, units
from queuectl.layout import Layout
from tests import inotify
from tests.support import Workers, ids_in, names, until


def visit(spool, *, fix=False):
    return [(report.check, report.fixed) for report in doctor.examine(spool, fix=fix)]


def copy_of_a_job(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    [name] = names(path, "pending")
    shutil.copy(path / "pending" / name, path / "dead" / name)
    (path / "results" / "a.jsonl").write_text('{"claim": "x"}\n')
    (path / "ids" / "a").unlink()
    os.link(path / "dead" / name, path / "ids" / "a")


def dead_worker(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    [entry] = spool.entries_of("a")
    assert spool.claim(entry.file, record.worker, 1_795_342_502.5)
    os.close(lock)


def unreadable_job(spool, path):
    (path / "pending" / "20261121T000000.000000Z-p5-a0-1k0ttnghkr35gp8j3.json").write_text("{")


def void_link(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    (path / "pending" / names(path, "pending")[0]).unlink()


def missing_link(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    (path / "ids" / "a").unlink()


def leftover(spool, path):
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"from queuectl import Spool; open(Spool({str(path)!r}).temporary(), 'x')",
        ],
        check=True,
    )


def abandoned(file):
    file.write_text('{"claim": "x"}\n')
    os.utime(file, (1, 1))


def stillborn(spool, path):
    (path / "workers" / "gone-1-abc.lock").touch()
    os.utime(path / "workers" / "gone-1-abc.lock", (1, 1))


ILLS = {
    "stillborn": stillborn,
    "directories": lambda spool, path: (path / "dead").rmdir(),
    "modes": lambda spool, path: (path / "pending").chmod(0o733),
    "leftovers": leftover,
    "orphans": dead_worker,
    "duplicates": copy_of_a_job,
    "unreadable": unreadable_job,
    "links": void_link,
    "records": lambda spool, path: abandoned(path / "results" / "gone.jsonl"),
}


@pytest.mark.parametrize("ill", ILLS)
def test_an_illness_is_found_mended_and_gone(spool, path, ill):
    ILLS[ill](spool, path)

    assert visit(spool) == [(ill, False)]
    assert visit(spool) == [(ill, False)]
    assert visit(spool, fix=True) == [(ill, True)]
    assert visit(spool) == []


def test_a_healthy_spool_is_healthy_and_stays_as_it_was(spool, path, queuectl):
    queuectl("enqueue", "--id", "a", "-c", "echo hi; exit 1", "--max-retries", "1")
    queuectl("enqueue", "-c", "true")
    queuectl("worker", "start", "--drain")
    before = sorted(path.rglob("*"))

    assert visit(spool, fix=True) == []
    assert sorted(path.rglob("*")) == before


def test_a_missing_link_is_made_again(spool, path):
    missing_link(spool, path)

    assert visit(spool, fix=True) == [("links", True)]
    assert (path / "ids" / "a").stat().st_nlink == 2


def test_logs_without_a_job_go_and_those_of_supervisors_stay(spool, path):
    abandoned(path / "logs" / "gone.1.out")
    (path / "logs" / "workers-mars-20261122T101502-4709.log").touch()

    assert visit(spool, fix=True) == [("records", True)]
    assert os.listdir(path / "logs") == ["workers-mars-20261122T101502-4709.log"]


def test_mending_a_copy_keeps_the_job_and_sets_the_copy_aside(spool, path):
    copy_of_a_job(spool, path)

    doctor.examine(spool, fix=True)

    assert (ids_in(path, "dead"), names(path, "pending")) == (["a"], [])
    assert len(names(path, "rejected")) == 2


EARLY, LATE = "20261121T101502.000000Z", "20261121T101503.000000Z"


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (f"pending/{EARLY}-p5-a0", f"completed/{LATE}-p5-a1"),
        (f"processing/gone-1-abc/{EARLY}-p5-a1", f"failed/{LATE}-p5-a1"),
        (f"failed/{EARLY}-p5-a1", f"failed/{LATE}-p5-a2"),
        (f"failed/{LATE}-p5-a1", f"processing/gone-1-abc/{EARLY}-p5-a2"),
        (f"failed/{LATE}-p5-a2", f"completed/{EARLY}-p5-a1"),
    ],
)
@pytest.mark.parametrize("duplicate", [shutil.copy, os.link])
def test_of_two_places_of_one_job_the_later_one_stays(spool, path, earlier, later, duplicate):
    """Such pairs come of copying a spool while its jobs move."""
    spool.enqueue({"command": "true", "id": "a"})
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    os.close(lock)
    places = [
        path / f"{place.replace('gone-1-abc', record.worker)}-a.json" for place in (earlier, later)
    ]
    (path / "pending" / names(path, "pending")[0]).rename(places[0])
    duplicate(places[0], places[1])

    [finding] = [found for found in doctor.examine(spool, fix=False) if found.check == "duplicates"]
    assert str(places[1].relative_to(path)) in finding.what
    mends = [found.mend for found in doctor.duplicates(spool)]
    mends[0]()

    assert [place.exists() for place in places] == [False, True]
    assert names(path, "rejected") == [] if duplicate is os.link else names(path, "rejected")
    assert list(doctor.duplicates(spool)) == []


def test_two_jobs_with_one_id_are_not_called_copies(spool, path):
    copy_of_a_job(spool, path)
    [name] = names(path, "pending")
    (path / "pending" / name).unlink()
    (path / "pending" / name).write_text('{"command": "false"}')

    [report] = doctor.examine(spool, fix=True)

    assert "differ" in report.what
    [reason] = [name for name in names(path, "rejected") if name.endswith(".reason")]
    assert "another job" in (path / "rejected" / reason).read_text()


def test_a_copy_of_a_job_that_runs_is_told_and_left_until_it_has_ended(spool, path):
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")
    claimed = spool.claim(entry.file, record.worker, 1_795_342_502.5)
    shutil.copy(path / claimed.file, path / "completed")

    reports = doctor.examine(spool, fix=True)

    assert [report.fixed for report in reports if report.check == "duplicates"] == [False]
    assert ids_in(path, "processing") == ids_in(path, "completed") == ["a"]
    os.close(lock)


def test_a_link_that_a_copy_has_broken_is_made_again(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    shutil.copy(path / "ids" / "a", path / "copy")
    (path / "copy").rename(path / "ids" / "a")

    assert visit(spool, fix=True) == [("links", True)]
    assert (path / "ids" / "a").samefile(path / "pending" / names(path, "pending")[0])


def moves_amid_a_look(spool, monkeypatch, entry, target, after):
    """A job moves to another state as soon as somebody has looked at the state `after`."""
    entries = spool.entries

    def look(state, *part):
        yield from entries(state, *part)
        if state == after:
            spool.move(entry, target, entry.name)

    monkeypatch.setattr(spool, "entries", look)


def test_a_job_that_moves_while_the_doctor_looks_is_no_copy(spool, path, monkeypatch):
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")
    dead = spool.move(entry, "dead", entry.name)
    moves_amid_a_look(spool, monkeypatch, dead, "pending", after="dead")

    assert list(doctor.duplicates(spool)) == []
    assert ids_in(path, "pending") == ["a"]


def test_the_history_of_a_job_that_moves_while_the_doctor_looks_is_not_abandoned(
    spool, path, monkeypatch
):
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")
    dead = spool.move(entry, "dead", entry.name)
    abandoned(path / "results" / "a.jsonl")
    moves_amid_a_look(spool, monkeypatch, dead, "pending", after="pending")

    assert list(doctor.records(spool)) == []
    assert ids_in(path, "pending") == ["a"]


def test_a_file_that_is_no_job_is_told_and_left_to_the_worker_that_has_it(spool, path):
    (path / "processing" / "me-1-abc").mkdir()
    file = path / "processing" / "me-1-abc" / "20261121T000000.000000Z-p5-a1-1k0ttnghkr35gp8j3.json"
    file.write_text("{")

    assert visit(spool, fix=True) == [("unreadable", False)]
    assert file.read_text() == "{"


def test_a_young_history_without_a_job_is_left_alone(spool, path):
    (path / "results" / "moving.jsonl").write_text('{"claim": "x"}\n')

    assert visit(spool, fix=True) == []


def test_jobs_larger_than_a_lowered_limit_are_jobs_all_the_same(spool, path):
    spool.enqueue({"command": "true", "name": "x" * 500})
    spool._flags = {"max_job_size": 100}
    spool._live = None

    assert visit(spool, fix=True) == []
    assert len(names(path, "pending")) == 1


def test_an_ended_job_without_a_record_is_told_and_left(spool, path):
    (path / "completed" / "20261121T000000.000000Z-p5-a1-1k0ttnghkr35gp8j3.json").write_text(
        '{"command": "true"}'
    )

    assert visit(spool, fix=True) == [("records", False)]


def test_a_damaged_config_is_told_and_left(spool, path):
    (path / "config.json").write_text("{")

    assert ("settings", False) in visit(spool, fix=True)
    assert (path / "config.json").read_text() == "{"


def test_a_lock_that_somebody_holds_is_told(spool, path):
    with filelock.FileLock(path / "config.json.lock", is_singleton=False):
        assert visit(spool) == [("locks", False)]


@inotify.limited
def test_no_watch_left_is_told(spool):
    words = [sys.executable, "-m", "queuectl", "--spool", spool.path, "doctor"]
    shell = ["sh", "-c", inotify.allow(0) + '; exec "$@"', "sh"]
    done = subprocess.run(
        [*inotify.NAMESPACE, *shell, *words], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "no inotify instance left" in done.stdout


def test_a_once_huge_directory_is_swapped_for_a_new_one(spool, path, monkeypatch):
    spool.enqueue({"command": "true", "id": "a"})
    before = (path / "pending").stat().st_ino
    monkeypatch.setattr(doctor, "HUGE", 1)

    assert visit(spool) == [("once huge", False)] * 4
    assert (path / "pending").stat().st_ino == before
    assert visit(spool, fix=True) == [("once huge", True)] * 4
    assert (path / "pending").stat().st_ino != before
    assert ids_in(path, "pending") == ["a"]


def test_each_step_of_a_renewal_is_durable_before_the_next(spool, path, monkeypatch):
    spool.enqueue("true")
    steps = []

    def noted(name):
        real = getattr(disk, name)

        def act(place, *more):
            steps.append(
                (name, "old" if place.startswith(f"{path}/tmp/") else os.path.relpath(place, path))
            )
            return real(place, *more)

        return act

    for name in ("exchange", "rename", "sync", "remove"):
        monkeypatch.setattr(disk, name, noted(name))

    renewal.renew(spool, "pending")

    swap = [("exchange", "pending"), ("sync", "."), ("sync", "tmp")]
    assert steps == [
        *swap,
        ("remove", "old"),
        ("rename", "old"),
        ("sync", "old"),
        ("sync", "pending"),
        ("remove", "old"),
    ]


def test_a_new_directory_belongs_to_whom_the_old_one_did(spool, path):
    """What a spool that several users share is allowed, it stays."""
    place = path / "pending"
    group = 65534 if os.geteuid() == 0 else os.getegid()
    os.chown(place, -1, group)
    place.chmod(0o2770)
    before = place.stat()

    renewal.renew(spool, "pending")

    after = place.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_gid) == (before.st_mode, group)


def test_a_directory_is_renewed_while_jobs_are_dropped_and_run(queuectl, spool, path):
    count = 300
    with Workers(path, "--count", "2") as workers:
        workers.up(2)
        producer = subprocess.Popen([sys.executable, "-c", PRODUCER, str(path), str(count)])
        try:
            until(lambda: renewal.renew(spool, "pending") or producer.poll() is not None)
        finally:
            producer.wait(60)
        until(lambda: len(names(path, "completed")) == count)
    assert ids_in(path, "completed") == sorted(f"job-{number}" for number in range(count))
    assert names(path, "rejected") == os.listdir(path / "tmp") == []
    assert spool.count("pending") == 0


#: Drops jobs into the directory that it opened first, until that is gone; every third under a name that is always the same.
PRODUCER = """
import os, sys
path, count = sys.argv[1], int(sys.argv[2])
def opened():
    return os.open(path + "/pending", os.O_RDONLY)
pending = opened()
for number in range(count):
    with open(path + "/tmp/theirs", "w") as file:
        file.write('{"command": "true", "id": "job-%d"}' % number)
    while True:
        try:
            name = f"{number}.json" if number % 3 else "same.json"
            os.link(path + "/tmp/theirs", name, dst_dir_fd=pending)
            break
        except FileNotFoundError:
            pending = opened()
        except FileExistsError:
            pass
    os.unlink(path + "/tmp/theirs")
"""


def test_a_directory_that_is_huge_and_full_is_left_alone(spool, monkeypatch):
    spool.enqueue_all(["true"] * 3)
    monkeypatch.setattr(doctor, "HUGE", 1)
    monkeypatch.setattr(doctor, "FEW", 3)

    assert len(visit(spool)) == 3


def test_a_file_system_that_cannot_exchange_says_what_to_do_instead(spool, path, monkeypatch):
    monkeypatch.setattr(doctor, "HUGE", 1)
    monkeypatch.setattr(libc, "renameat2", refuse)

    reports = doctor.examine(spool, fix=True)

    assert [report.fixed for report in reports] == [False] * 4
    assert "stop the workers" in reports[0].cure
    assert os.listdir(path / "tmp") == []


def refuse(*_):
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def test_the_command_says_it_and_answers_with_its_exit_code(queuectl, path):
    queuectl("init")
    assert queuectl("doctor") == "healthy\n"
    (path / "pending").chmod(0o777)

    assert "open to others" in queuectl("doctor", code=1)
    report = queuectl.json("doctor", code=1)
    assert (report["healthy"], report["findings"][0]["check"]) == (False, "modes")
    assert "mended" in queuectl("doctor", "--fix")
    report = queuectl.json("doctor")
    assert (report["healthy"], report["findings"]) == (True, [])


def test_there_must_be_a_spool(queuectl):
    assert "no spool" in queuectl.refusal("doctor", code=1)


def test_a_visit_needs_little_memory_whatever_a_job_file_may_be(spool, queuectl):
    queuectl("enqueue", "-c", "true")
    words = [sys.executable, "-m", "queuectl", "--spool", spool.path, "doctor"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -v 500000; exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "healthy\n"), done.stderr


def test_a_worker_of_another_kernel_that_works_here_is_told(spool, path):
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    file = path / "workers" / f"{record.worker}.json"
    file.write_text(file.read_text().replace(record.boot, "another"))

    [finding] = doctor.boots(spool)
    assert "shared yes" in finding.cure
    assert list(doctor.orphans(spool)) == []
    os.utime(file, (0, max(time.time() - 1000, host.booted_at() + 1)))
    assert list(doctor.boots(spool)) == []
    os.utime(file)
    spool._shared = True
    assert list(doctor.boots(spool)) == []
    os.close(lock)


def test_a_copy_of_hard_links_is_told(spool, path, tmp_path):
    subprocess.run(["cp", "-al", path, tmp_path / "copy"], check=True)

    [finding] = doctor.linked(spool)

    assert "cp -a" in finding.cure
    shutil.rmtree(tmp_path / "copy")
    assert list(doctor.linked(spool)) == []


# -- clocks

#: How far a clock was ahead.
AHEADS = [12 * 3600.0, 10 * 365 * 86400.0]


@pytest.fixture
def ahead(spool, path, monkeypatch):
    """Within it the clock is ahead; the file of job a gets the time that it would have by that clock."""

    @contextmanager
    def ahead(by):
        with monkeypatch.context() as patch:
            patch.setattr(Layout, "now", lambda spool: time.time() + by)
            yield
            [entry] = spool.entries_of("a")
            os.utime(path / entry.file, (spool.now(), spool.now()))

    return ahead


def waits(spool, id):
    """Seconds until a job is due."""
    [entry] = spool.entries_of(id)
    return entry.name.time - time.time()


def clock_reports(spool, *, fix):
    return [report for report in doctor.examine(spool, fix=fix) if report.check == "clocks"]


@pytest.mark.parametrize("by", AHEADS)
@pytest.mark.parametrize(("delay", "hold"), [(0, False), (0, True), (100_000, False)])
def test_a_job_that_came_by_a_clock_that_was_ahead_waits_as_long_as_it_should(
    spool, ahead, by, delay, hold
):
    with ahead(by):
        spool.enqueue({"command": "true", "id": "a", "delay": delay}, hold=hold)
    spool.enqueue({"command": "true", "id": "b", "delay": 1e8})

    [report] = clock_reports(spool, fix=False)
    assert report.what.startswith("job a ")
    assert waits(spool, "a") == pytest.approx(by + delay, abs=60)
    clock_reports(spool, fix=True)

    assert clock_reports(spool, fix=True) == []
    assert waits(spool, "a") == pytest.approx(delay, abs=60)
    assert waits(spool, "b") == pytest.approx(1e8, abs=60)


@pytest.mark.parametrize("by", AHEADS)
def test_a_retry_of_a_run_that_ended_by_a_clock_that_was_ahead_comes_after_its_wait(
    spool, ahead, by
):
    spool.enqueue({"command": "true", "id": "a"})
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    [entry] = spool.entries_of("a")
    with ahead(by):
        claimed = spool.claim(entry.file, record.worker, spool.now())
        spool.file(claimed, spool.target(claimed, "failed", spool.now() + 500))
    os.close(lock)

    [report] = clock_reports(spool, fix=True)

    assert report.fixed
    assert waits(spool, "a") == pytest.approx(500, abs=60)


@pytest.mark.parametrize("run_at", ["2020-01-01T00:00:00Z", "2199-01-01T00:00:00Z"])
def test_a_job_keeps_a_time_that_it_asks_for_itself(spool, ahead, run_at):
    with ahead(AHEADS[0]):
        spool.enqueue({"command": "true", "id": "a", "run_at": run_at})

    assert clock_reports(spool, fix=True) == []
    assert waits(spool, "a") == pytest.approx(units.instant(run_at) - time.time(), abs=60)


def test_a_tick_that_came_by_a_clock_that_was_ahead_runs_now(spool, ahead):
    """It asks for its time, but when that had come."""
    with ahead(AHEADS[0]):
        spool.enqueue({"command": "true", "id": "a", "run_at": units.iso(spool.now() - 3)})

    [report] = clock_reports(spool, fix=True)

    assert report.fixed
    assert waits(spool, "a") <= 0


def test_a_job_that_somebody_has_put_off_is_nobodys_mistake(spool):
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")
    actions.change(spool, entry, due=time.time() + AHEADS[1])

    assert clock_reports(spool, fix=True) == []
    assert waits(spool, "a") > 1e8


def test_a_job_that_was_claimed_by_a_clock_that_was_ahead_is_given_back_for_now(spool, ahead):
    spool.enqueue({"command": "true", "id": "a"})
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    [entry] = spool.entries_of("a")
    with ahead(AHEADS[1]):
        claimed = spool.claim(entry.file, record.worker, spool.now())

    spool.release(claimed)

    assert waits(spool, "a") <= 0
    os.close(lock)


def test_what_a_clock_that_was_ahead_left_is_not_young_for_ever(spool, path):
    """A key whose enqueue died, and a file of another host in tmp/."""
    future = time.time() + AHEADS[1]
    spool.need("unique")
    os.symlink("gone", path / "unique" / "key")
    os.utime(path / "unique" / "key", (future, future), follow_symlinks=False)
    (path / "tmp" / "other").touch()
    os.utime(path / "tmp" / "other", (future, future))

    spool.enqueue({"command": "true", "unique": "key"})

    assert spool.sweep() == 1
