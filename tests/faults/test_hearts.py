"""Hearts: supervisors that hang, that cannot beat, and workers that somebody declared dead."""

import errno
import os
import signal

import pytest

from queuectl import Spool, disk, liveness
from queuectl.errors import SpoolUnusable
from queuectl.host import is_running
from queuectl.log import Log
from queuectl.supervisor import Supervisor
from tests.faults.seam import Seam, fail
from tests.lifecycle.test_dying import pidfile_job, pids
from tests.support import Workers, ids_in, names, until

QUICK = (
    "--set",
    "heartbeat_interval=0.5",
    "--set",
    "worker_lost_after=1.5",
    "--set",
    "shutdown_grace=1",
)


def test_a_supervisor_that_hangs_is_ended_with_its_commands_and_its_job_runs_again(
    queuectl, path, tmp_path
):
    pidfile_job(queuectl, tmp_path)
    with Workers(path, *QUICK) as frozen:
        until(lambda: pids(tmp_path))
        [record] = frozen.up()
        for pid in (frozen.process.pid, record["pid"]):
            os.kill(pid, signal.SIGSTOP)

        with Workers(path, *QUICK):
            until(lambda: len(pids(tmp_path)) == 2)
            assert not is_running(record["pid"])
            assert not is_running(pids(tmp_path)[0])
            frozen.process.wait(10)
            (tmp_path / "go").touch()
            until(lambda: ids_in(path, "completed") == ["a"])
    assert [run["outcome"] for run in queuectl.json("show", "a")["runs"]] == ["lost", "completed"]


def test_a_job_longer_than_the_lease_is_left_to_its_living_worker(queuectl, path, tmp_path):
    queuectl("enqueue", "--id", "a", "-c", f"echo $$ >> {tmp_path}/pids; sleep 4")
    with Workers(path, *QUICK), Workers(path, *QUICK):
        until(lambda: ids_in(path, "completed") == ["a"])
    assert len(pids(tmp_path)) == 1


def test_a_worker_whose_record_was_removed_is_ended_and_its_job_is_put_back(
    queuectl, path, tmp_path
):
    pidfile_job(queuectl, tmp_path)
    with Workers(path, *QUICK) as workers:
        until(lambda: pids(tmp_path))
        [record] = workers.up()
        (path / "workers" / f"{record['worker']}.json").unlink()

        until(lambda: len(pids(tmp_path)) == 2)
        assert not is_running(pids(tmp_path)[0])
        (tmp_path / "go").touch()
        until(lambda: ids_in(path, "completed") == ["a"])


def test_a_supervisor_that_cannot_beat_ends_its_commands_and_stops(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            seam = Seam(lambda _: None)
            seam.utime = lambda *_: fail(errno.EIO)(None)
            disk.os = seam
            log = Log(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT, 0o600), "json")
            flags = {"heartbeat_interval": 0.5, "worker_lost_after": 1.5, "shutdown_grace": 1.0}
            with pytest.raises(SpoolUnusable, match="no heartbeat"):
                Supervisor(Spool(path, flags=flags).make(), 1, log).run()
            code = 0
        finally:
            os._exit(code)
    try:
        assert (
            os.waitstatus_to_exitcode(
                until(lambda: (ended := os.waitpid(pid, os.WNOHANG))[0] and ended)[1]
            )
            == 0
        )
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise

    assert "no heartbeat could be written" in (tmp_path / "log").read_text()
    assert not is_running(pids(tmp_path)[0])
    assert "-a0-a.json" in names(path, "pending")[0]


def test_an_observer_that_did_not_look_for_a_while_begins_again(spool, monkeypatch):
    """Whoever stopped us may have stopped the worker as well: it gets its chance to beat."""
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    clock = iter([0.0, 20.0, 40.0, 500.0, 520.0, 540.0, 560.0, 580.0])
    monkeypatch.setattr(liveness.time, "monotonic", lambda: next(clock))
    observer = liveness.Observer(spool)

    silences = [observer.silence(record.worker) for _ in range(8)]
    os.close(lock)

    assert silences == [0, 20, 40, 0, 20, 40, 60, 80]


@pytest.mark.parametrize("end", [".json", ".lock"])
def test_half_a_record_is_no_reason_to_take_a_worker_for_dead_at_once(spool, path, end):
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    (path / "workers" / (record.worker + end)).unlink()

    assert liveness.Observer(spool).is_alive(record.worker, liveness.read(spool, record.worker))
    os.close(lock)
