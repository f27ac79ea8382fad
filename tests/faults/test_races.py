"""Races and mean tricks: many at once on one thing, and things that change between two looks."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import time

import pytest

from queuectl import Spool, actions, disk, liveness, lookup, recovery
from queuectl.errors import QueuectlError
from queuectl.filename import Name, encode
from queuectl.log import Log
from queuectl.supervisor import Supervisor
from tests.support import Workers, environment, ids_in, names, until

FORK = multiprocessing.get_context("fork")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def together(*acts):
    """Run functions at once, each in a process of its own; what each answered."""
    start, answers = FORK.Barrier(len(acts)), FORK.Queue()

    def run(number, act):
        start.wait()
        try:
            answers.put((number, act()))
        except (QueuectlError, OSError) as error:
            answers.put((number, type(error).__name__))

    racers = [FORK.Process(target=run, args=pair) for pair in enumerate(acts)]
    for racer in racers:
        racer.start()
    found = dict(answers.get(timeout=50) for _ in racers)
    for racer in racers:
        racer.join()
    return [found[number] for number in range(len(acts))]


def claimer(spool, path, number, files):
    """Claims what it can of `files`, in an order of its own; how many that were."""
    me = f"w-{number}-abc"
    (path / "processing" / me).mkdir()

    def claim_all():
        mine = list(files)
        random.Random(number).shuffle(mine)
        return sum(spool.claim(file, me, time.time()) is not None for file in mine)

    return claim_all


@pytest.mark.parametrize("jobs", [1, 10_000])
def test_sixteen_processes_claim_each_job_once(spool, path, jobs):
    files = []
    for number in range(jobs):
        files.append("pending/" + encode(Name(1_795_342_502.0, 5, 0, f"j{number}")))
        (path / files[-1]).touch()

    won = together(*(claimer(spool, path, number, files) for number in range(16)))

    assert sum(won) == jobs
    assert len(names(path, "processing")) == jobs
    assert names(path, "pending") == []


@pytest.mark.parametrize("turn", range(8))
def test_of_those_who_claim_cancel_remove_and_move_one_job_one_wins(spool, path, turn):
    spool.enqueue({"command": "true", "id": "a"})
    entry = lookup.find(spool, "a")
    (path / "processing" / "w-1-abc").mkdir()

    together(
        lambda: bool(spool.claim(entry.file, "w-1-abc", time.time())),
        lambda: bool(spool.remove(entry)),
        lambda: bool(spool.move(entry, "dead", entry.name)),
        lambda: bool(spool.move(entry, "failed", entry.name)),
    )

    places = list(spool.entries_of("a"))
    assert len(places) == (0 if not (path / "ids" / "a").exists() else 1)


def test_two_rescuers_move_each_job_once(spool, path):
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    for number in range(60):
        spool.enqueue({"command": "true", "id": f"j{number}"})
    for entry in list(spool.entries("pending")):
        spool.claim(entry.file, record.worker, time.time())
    os.close(lock)

    moved = together(*[lambda: len(recovery.rescue(spool, liveness.Observer(spool)))] * 3)

    # Who comes second finds the job where the record of the first said that it goes.
    assert sum(moved) >= 60
    assert len(ids_in(path, "failed")) == 60
    assert all(len(lookup.runs(spool, entry)) <= 3 for entry in spool.entries("failed"))
    assert os.listdir(path / "workers") == []


def test_listings_that_skip_repeat_and_shuffle_lose_and_double_nothing(spool, path, tmp_path):
    for number in range(200):
        spool.enqueue(f"echo {number} >> {tmp_path}/ledger")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            real = disk.scan

            def scan(place, **options):
                found = [name for name in real(place, **options) if random.random() > 0.1]
                found += random.sample(found, len(found) // 20)
                random.shuffle(found)
                return iter(found)

            disk.scan = scan
            log = Log(os.open(os.devnull, os.O_WRONLY), "json")
            Supervisor(
                Spool(path, flags={"heartbeat_interval": 0.5, "poll_interval": 0.1}),
                3,
                log,
                duration=20,
            ).run()
            code = 0
        finally:
            os._exit(code)
    try:
        until(lambda: len(names(path, "completed")) == 200, 20)
    finally:
        os.kill(pid, 15)
        os.waitpid(pid, 0)

    assert sorted(map(int, (tmp_path / "ledger").read_text().split())) == list(range(200))


def test_a_file_that_is_changed_after_the_claim_changes_nothing(queuectl, path, tmp_path):
    """Its producer keeps it open; it is read once, and run from memory."""
    queuectl("init")
    text = json.dumps(
        {
            "command": f"echo $$ >> {tmp_path}/pids; until test -e {tmp_path}/go; do sleep 0.02; done; echo good",
            "id": "a",
        }
    )
    with (path / "pending" / "x.json").open("w+") as kept, Workers(path):
        kept.write(text)
        kept.flush()
        until((tmp_path / "pids").exists)
        kept.seek(0)
        kept.truncate()
        kept.write(json.dumps({"command": "echo evil", "max_retries": 1}))
        kept.flush()
        (tmp_path / "go").touch()
        until(lambda: ids_in(path, "completed") == ["a"])
    assert queuectl("logs", "a") == "good\n"


@needs_root
def test_a_device_is_rejected_unopened(queuectl, path):
    queuectl("init")
    os.mknod(path / "pending" / "zero.json", 0o600 | 0o020000, os.makedev(1, 5))
    os.mknod(
        path / "pending" / "20260101T000000.000000Z-p5-a0-tty.json",
        0o600 | 0o020000,
        os.makedev(5, 0),
    )
    with Workers(path):
        until(lambda: len(names(path, "rejected")) == 4)


@needs_root
def test_a_drop_that_cannot_be_read_is_rejected_after_its_grace(queuectl, path):
    queuectl("init")
    (path / "pending" / "secret.json").write_text('{"command": "true"}')
    (path / "pending" / "secret.json").chmod(0o000)
    # Without the right to override modes, root is like anybody else.
    drop = "-dac_override,-dac_read_search"
    words = [
        "setpriv",
        "--bounding-set",
        drop,
        "--inh-caps",
        drop,
        sys.executable,
        "-m",
        "queuectl",
        "worker",
        "start",
        "--drain",
    ]

    subprocess.run(words, env=environment(path), check=True, capture_output=True, timeout=50)

    assert "permission denied" in (path / "rejected" / names(path, "rejected")[1]).read_text()


@needs_root
def test_a_tmp_on_another_file_system_is_refused(queuectl, path):
    queuectl("init")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", path / "tmp"],
        capture_output=True,
        check=False,
    ).returncode:
        pytest.skip("no mount of our own here")
    try:
        assert "one file system" in queuectl.refusal("enqueue", "-c", "true", code=1)
        assert "nothing can be moved" in queuectl("doctor", code=1)
        assert os.listdir(path / "tmp") == names(path, "pending") == []
    finally:
        subprocess.run(["umount", "-l", path / "tmp"], check=True)


def test_a_process_that_got_the_id_of_a_dead_worker_is_not_taken_for_it(spool, path, queuectl):
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        record, lock = liveness.enroll(spool, "super-1-abc", bystander.pid)
        file = path / "workers" / f"{record.worker}.json"
        file.write_text(
            json.dumps(
                {
                    **json.loads(file.read_text()),
                    "pid": bystander.pid,
                    "supervisor_pid": bystander.pid,
                }
            )
        )
        os.close(lock)

        queuectl("worker", "stop", "--now")
        recovery.rescue(spool, liveness.Observer(spool))

        assert bystander.poll() is None
        assert os.listdir(path / "workers") == []
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("end", ["timeout", "cancel", "stop"])
def test_a_child_that_left_the_session_ends_with_its_run(queuectl, path, tmp_path, end):
    command = f"setsid sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/child; while :; do sleep 0.02; done' & wait; sleep 600"
    queuectl(
        "enqueue",
        "--id",
        "a",
        "--max-retries",
        "1",
        *(["--timeout", "0.5"] if end == "timeout" else []),
        "-c",
        command,
    )
    with Workers(path, "--set", "shutdown_grace=0.2"):
        child = until(
            lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip()
        )
        if end == "cancel":
            actions.cancel(Spool(path), "a")
        if end == "stop":
            queuectl("worker", "stop", "--now")
        until(lambda: names(path, "processing") == [])
        until(lambda: not os.path.exists(f"/proc/{child}"))


def test_a_lock_whose_holder_was_killed_is_free(queuectl, path):
    queuectl("init")
    code = f"import filelock, os; filelock.FileLock({str(path / 'config.json.lock')!r}).acquire(); print('held', flush=True); os.read(0, 1)"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.communicate()

    queuectl("config", "set", "timeout", "5")


def test_jobs_become_due_by_the_wall_clock_of_no_time_zone(queuectl, path):
    queuectl(
        "enqueue",
        "--id",
        "past",
        "--run-at",
        "2026-01-01T12:00:00+14:00",
        "-c",
        "true",
        TZ="Pacific/Kiritimati",
    )
    queuectl(
        "enqueue",
        "--id",
        "future",
        "--run-at",
        "2199-01-01T00:00:00-12:00",
        "-c",
        "true",
        TZ="America/New_York",
    )
    with Workers(path, TZ="Asia/Kathmandu"):
        until(lambda: ids_in(path, "completed") == ["past"])
    assert ids_in(path, "pending") == ["future"]
    assert queuectl.json("show", "past", TZ="Europe/Berlin") == queuectl.json(
        "show", "past", TZ="UTC"
    )
