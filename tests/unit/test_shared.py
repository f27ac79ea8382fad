"""On a file system of several hosts: longer leases, looks of our own, locks that are made of files."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time

import filelock
import pytest

from queuectl import config, disk, guard, host, liveness, recovery
from queuectl import dealer as room
from queuectl.dealer import Dealer
from queuectl.log import Log
from queuectl.wire import pair
from tests.support import PATIENCE, until


@pytest.fixture
def network(monkeypatch):
    """The file system of this test counts as one that other hosts mount."""
    monkeypatch.setenv("QUEUECTL_SHARED", "yes")


def test_the_lease_is_three_minutes_unless_somebody_says_otherwise(network, spool, path):
    assert liveness.lease(spool) == spool.settings().worker_lost_after == 180

    config.change(str(path / "config.json"), spool.temporary(), {"worker_lost_after": 30.0})
    assert liveness.lease(spool) == 30

    config.change(str(path / "config.json"), spool.temporary(), {"heartbeat_interval": 100.0})
    assert liveness.lease(spool) == 300


def test_the_lease_is_at_least_ten_seconds(network, spool, path):
    config.change(
        str(path / "config.json"),
        spool.temporary(),
        {"worker_lost_after": 1.5, "heartbeat_interval": 0.5},
    )

    assert liveness.lease(spool) == 10


def test_on_one_host_the_lease_is_a_minute(spool):
    assert liveness.lease(spool) == 60


def test_the_settings_are_guarded_by_a_lock_that_is_made_of_files(network, spool, path):
    with spool.locked("config.json.lock"):
        other = filelock.StrictSoftFileLock(path / "config.json.lock.hosts", timeout=0.1)
        with pytest.raises(filelock.Timeout):
            other.acquire()
    spool.open()
    spool.make()


def test_a_worker_of_this_host_whose_process_is_gone_is_dead_at_once(network, spool):
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    record, lock = liveness.enroll(spool, "super-1-abc", pid)
    observer = liveness.Observer(spool)

    assert observer.is_alive(record.worker, record)
    assert not observer.is_alive(record.worker, record._replace(pid=pid))
    os.close(lock)


def test_a_process_id_of_another_host_says_nothing_here(network, spool, monkeypatch):
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    monkeypatch.setattr(host, "is_running", lambda pid: False)
    observer = liveness.Observer(spool)

    assert not observer.is_alive(record.worker, record)
    assert observer.is_alive(record.worker, record._replace(host="mars"))
    os.close(lock)


def test_what_another_boot_left_in_tmp_stays_for_a_while_as_two_hosts_may_have_one_name(
    network, spool, path
):
    """Several machines that were made from one image: theirs may still be writing it."""
    here = host.place()
    file = path / "tmp" / f"{os.getpid()}~{here._replace(boot='00000000-0')}~1abc"
    file.touch()

    assert spool.sweep() == 0

    os.utime(file, (1, 1))
    assert spool.sweep() == 1


def test_looks_of_its_own_come_soon_while_there_is_work_and_rarely_when_there_is_none(
    spool, monkeypatch
):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def time(self):
            return 1_795_342_502.0

    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    here, there = pair()
    hand = room.Hand(1, here, 0.0, name="w")
    dealer = Dealer(spool, trusts_times=False)
    pauses = []
    for _ in range(15):
        hand.wants = 1
        dealer.deal([hand], 5.0)
        wakes = dealer.wakes_at([hand], 5.0)
        pauses.append(wakes - clock.now)
        clock.now = wakes + 0.001

    assert pauses == pytest.approx(sorted(pauses))
    assert pauses[0] < 0.4
    assert pauses[-1] == pytest.approx(5.0)

    spool.enqueue({"command": "true", "run_at": "2020-01-01T00:00:00Z"})
    dealer.deal([hand], 5.0)
    hand.wants, hand.held = 1, set()
    dealer.unseen = False
    assert dealer.wakes_at([hand], 5.0) - clock.now == pytest.approx(room.QUICK)
    here.close()
    there.close()


def test_a_spool_that_does_not_answer_ends_the_supervisor_its_workers_and_their_commands(tmp_path):
    """A heartbeat that blocks, as on a dead server: nobody but the guard can act."""
    boss = os.fork()
    if not boss:
        try:
            guard.Guard(
                "super-1-abc",
                0.5,
                Log(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT, 0o600), "json"),
            )
            stubborn = "trap '' TERM; setsid sleep 600 & echo $! $$ >> pids; mv pids ready; while :; do sleep 1; done"
            subprocess.Popen(
                ["sh", "-c", stubborn], cwd=tmp_path, start_new_session=True, env=dict(os.environ)
            )
            if not os.fork():
                (tmp_path / "worker").write_text(str(os.getpid()))
            while True:
                signal.pause()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(boss, 0)[1]) == -signal.SIGKILL
    pids = [
        int(text) for name in ("ready", "worker") for text in (tmp_path / name).read_text().split()
    ]
    until(lambda: not any(host.is_running(pid) for pid in pids))
    until(lambda: "did not answer" in (tmp_path / "log").read_text())


def test_a_guard_that_hears_of_heartbeats_does_nothing_and_ends_with_its_supervisor(tmp_path):
    boss = os.fork()
    if not boss:
        try:
            own = guard.Guard("super-1-abc", 30.0, Log(os.open(os.devnull, os.O_WRONLY), "json"))
            for _ in range(20):
                own.beat(30.0)
            own.finish()
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(boss, 0)[1]) == 7


def test_a_guard_waits_as_long_as_the_last_heartbeat_said(tmp_path):
    boss = os.fork()
    if not boss:
        try:
            guard.Guard("super-1-abc", 600.0, Log(os.open(os.devnull, os.O_WRONLY), "json")).beat(
                0.05
            )
            signal.alarm(PATIENCE)
            signal.pause()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(boss, 0)[1]) == -signal.SIGKILL


def test_signals_that_are_meant_for_the_supervisor_do_not_end_its_guard():
    """Ctrl+C and the end of a terminal reach the whole group."""
    boss = os.fork()
    if not boss:
        try:
            own = guard.Guard("super-1-abc", 600.0, Log(os.open(os.devnull, os.O_WRONLY), "json"))
            own.beat(600.0)
            until(lambda: not unread(own.writer))  # now it does nothing but wait
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
                os.kill(own.pid, number)
            os.close(own.writer)
            os._exit(os.waitpid(own.pid, 0)[1] != 0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(boss, 0)[1]) == 0


def unread(pipe):
    """How many bytes in a pipe nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_lock_that_a_server_keeps_for_a_host_that_is_gone_is_no_obstacle_to_a_rescue(
    network, spool
):
    """NFSv3 keeps the locks of a client that lost its power until it comes back."""
    spool.enqueue({"command": "true", "id": "a"})
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    [entry] = spool.entries_of("a")
    assert spool.claim(entry.file, record.worker, 1_795_342_502.5)
    elsewhere = record._replace(host="mars", boot="0" * 36)

    [rescued] = recovery.rescue_worker(spool, record.worker, elsewhere)

    os.close(lock)
    assert (rescued.id, spool.state_of("a")) == ("a", "failed")


@pytest.mark.parametrize(("ahead", "skew"), [(3600.0, 3600.0), (-3600.0, -3600.0), (1.0, 0.0)])
def test_jobs_become_due_by_the_clock_of_the_file_server(
    network, spool, path, monkeypatch, ahead, skew
):
    """A host whose clock is an hour off neither holds its jobs back nor runs those of others too early."""
    real = disk.modified
    monkeypatch.setattr(disk, "modified", lambda file: real(file) + ahead)

    spool.enqueue({"command": "true", "id": "a"})
    spool.enqueue({"command": "true", "id": "b", "delay": 100})

    assert spool.skew() == pytest.approx(skew, abs=1)
    times = {entry.name.id: entry.name.time for entry in spool.entries("pending")}
    assert times["a"] == pytest.approx(time.time() + skew, abs=5)
    here, there = pair()
    hand = room.Hand(1, here, 0.0, name="w", wants=5)
    Dealer(spool, trusts_times=False).deal([hand], 5.0)
    assert [message.text.rpartition("-")[2] for message in there.receive()] == ["a.json"]
    here.close()
    there.close()
    assert os.listdir(path / "tmp") == []


def test_on_one_host_nobody_asks_the_file_system_for_the_time(spool, monkeypatch):
    monkeypatch.setattr(disk, "modified", lambda file: 0.0)

    assert spool.skew() == 0


def test_a_clock_that_is_set_is_noticed_at_once(network, spool, monkeypatch):
    assert spool.skew() == 0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)

    assert spool.skew() == pytest.approx(-3600, abs=1)
