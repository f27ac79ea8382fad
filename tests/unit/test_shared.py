"""On a file system of several hosts: longer leases, looks of our own, locks that are made of files."""

import os

import filelock
import pytest

from queuectl import config, host, liveness
from queuectl import dealer as room
from queuectl.dealer import Dealer
from queuectl.wire import pair


@pytest.fixture
def network(monkeypatch):
    """The file system of this test counts as one that other hosts mount."""
    monkeypatch.setattr(host, "_NETWORK", (host.mount(os.getcwd()).kind, "tmpfs", "ext4", "overlay", "xfs", "btrfs"))


def test_the_lease_is_three_minutes_unless_somebody_says_otherwise(network, spool, path):
    assert liveness.lease(spool) == spool.settings().worker_lost_after == 180

    config.change(str(path / "config.json"), spool.temporary(), {"worker_lost_after": 30.0})
    assert liveness.lease(spool) == 30


def test_the_lease_is_at_least_ten_seconds(network, spool, path):
    config.change(str(path / "config.json"), spool.temporary(), {"worker_lost_after": 1.5, "heartbeat_interval": 0.5})

    assert liveness.lease(spool) == 10


def test_on_one_host_the_lease_is_a_minute(spool):
    assert liveness.lease(spool) == 60


def test_the_settings_are_guarded_by_a_lock_that_is_made_of_files(network, spool, path):
    with config.locked(str(path / "config.json.lock")):
        other = filelock.StrictSoftFileLock(path / "config.json.lock", timeout=0.1)
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


def test_looks_of_its_own_come_soon_while_there_is_work_and_rarely_when_there_is_none(spool, monkeypatch):
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
