"""Consuming in Python programs of their own, beside each other, beside workers, and what signals do to them."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from queuectl import LostClaim, liveness, processes
from tests.support import Workers, environment, ids_in, names, until

ROOT = Path(__file__).parents[2]

#: Notes each run in a file, one appended line each, and works until it is let go.
HOLDING = """
import os, sys, time
from queuectl import LostClaim, Spool

place = sys.argv[1]
for job in Spool(f"{place}/spool").consume():
    with job:
        with open(f"{place}/runs", "a") as file:
            file.write(f"{job.id} {os.getpid()}\\n")
        while not os.path.exists(f"{place}/go") and not job.is_cancelled():
            time.sleep(0.01)
"""


class Program:
    """A Python program in the background: `with Program(code, tmp_path) as program`."""

    def __init__(self, code, place):
        self.code, self.place = code, place

    def __enter__(self):
        self.log = self.place / f"program-{os.urandom(3).hex()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", self.code, str(self.place)],
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment(self.place / "spool"),
            )
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def runs(self):
        """(id, process id) of each run that any program has begun."""
        path = self.place / "runs"
        return (
            [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []
        )


def quick(queuectl):
    """A short lease."""
    queuectl("config", "set", "heartbeat_interval", "0.5")
    queuectl("config", "set", "worker_lost_after", "1.5")


def test_two_consumers_and_two_workers_run_each_of_300_jobs_once(queuectl, spool, path, tmp_path):
    spool.enqueue_all(
        [
            {"command": f"echo job-{number} shell >> {tmp_path}/runs", "id": f"job-{number}"}
            for number in range(300)
        ]
    )
    with Program(HOLDING, tmp_path) as one, Program(HOLDING, tmp_path) as two:
        until(lambda: len(one.runs()) == 2)
        (tmp_path / "go").touch()
        with Workers(path, "--count", "2") as workers:
            until(lambda: len(ids_in(path, "completed")) == 300)
            queuectl("worker", "stop")
        assert (one.process.wait(10), two.process.wait(10)) == (0, 0)
    runs = one.runs()
    assert Counter(id for id, _ in runs) == {f"job-{number}": 1 for number in range(300)}
    assert {who for _, who in runs} >= {str(one.process.pid), str(two.process.pid)}
    assert one.log.read_text() == two.log.read_text() == "", "a lost race is not worth a word"
    assert [
        event for event in workers.events() if event["event"] in ("warning", "lost_claim")
    ] == []
    assert os.listdir(path / "workers") == os.listdir(path / "processing") == []


@pytest.mark.parametrize("rescuer", ["consumer", "worker"])
def test_a_killed_consumers_job_runs_again(queuectl, spool, path, tmp_path, rescuer):
    quick(queuectl)
    spool.enqueue("true", id="a")
    with Program(HOLDING, tmp_path) as first:
        until(first.runs)
        first.process.kill()
        first.process.wait(10)
    assert ids_in(path, "processing") == ["a"]
    (tmp_path / "go").touch()
    if rescuer == "worker":
        queuectl("worker", "start", "--drain")
    else:
        with Program(HOLDING, tmp_path) as second:
            until(lambda: len(second.runs()) == 2)
            until(lambda: ids_in(path, "completed") == ["a"])

    assert [run["outcome"] for run in queuectl.json("show", "a")["runs"]] == ["lost", "completed"]
    assert first.process.returncode == -signal.SIGKILL


def test_what_a_killed_consumer_has_started_is_ended_before_its_job_runs_again(
    queuectl, spool, path, tmp_path
):
    spool.enqueue("true", id="a")
    code = """
import subprocess, sys
from queuectl import Spool

for job in Spool(f"{sys.argv[1]}/spool").consume():
    with job:
        subprocess.run(["sh", "-c", f"echo a $$ >> {sys.argv[1]}/runs; sleep 600"], env=job.environ())
"""
    with Program(code, tmp_path) as program:
        until(program.runs)
        program.process.kill()
    [(_, pid)] = program.runs()
    assert os.path.exists(f"/proc/{pid}") or sys.platform != "linux"

    queuectl("worker", "start", "--drain")

    assert ids_in(path, "completed") == ["a"]
    assert processes.carrying({b"QUEUECTL_JOB_ID=a", b"QUEUECTL_SPOOL=" + os.fsencode(path)}) == []


def test_a_child_that_outlives_a_killed_consumer_does_not_keep_it_alive(
    spool, path, tmp_path, queuectl
):
    spool.enqueue("true", id="a")
    code = """
import os, sys, time
from queuectl import Spool

for job in Spool(f"{sys.argv[1]}/spool").consume():
    with job:
        if not (pid := os.fork()):
            time.sleep(600)
        with open(f"{sys.argv[1]}/runs", "a") as file:
            file.write(f"a {pid}\\n")
        time.sleep(600)
"""
    with Program(code, tmp_path) as program:
        [(_, child)] = until(program.runs)
        try:
            program.process.kill()
            program.process.wait(10)
            [record] = liveness.names(spool)
            # The child lets go of what it has inherited when it first runs.
            until(
                lambda: not liveness.Observer(spool).is_alive(record, liveness.read(spool, record))
            )
        finally:
            os.kill(int(child), signal.SIGKILL)


def test_a_consumer_that_hangs_is_ended_and_its_job_runs_elsewhere(queuectl, spool, path, tmp_path):
    quick(queuectl)
    spool.enqueue("true", id="a")
    with Program(HOLDING, tmp_path) as program:
        until(program.runs)
        program.process.send_signal(signal.SIGSTOP)
        with Workers(path):
            until(lambda: ids_in(path, "completed") == ["a"])
        assert program.process.wait(10) == -signal.SIGKILL


def test_a_running_job_is_cancelled_by_the_command(queuectl, spool, path, tmp_path):
    spool.enqueue("true", id="a")
    with Program(HOLDING, tmp_path) as program:
        until(program.runs)
        queuectl("cancel", "a")
        until(lambda: ids_in(path, "dead") == ["a"])
        assert program.process.poll() is None, "the request signals nobody"
    assert queuectl.json("show", "a")["runs"][0]["outcome"] == "cancelled"


def test_worker_stop_lets_a_consumer_finish_its_job_and_end(queuectl, spool, path, tmp_path):
    for id in ("a", "b"):
        spool.enqueue("true", id=id)
    with Program(HOLDING, tmp_path) as program:
        until(program.runs)
        [who] = queuectl.json("worker", "list")
        assert (who["pid"], who["alive"], who["job"]) == (program.process.pid, True, "a")
        assert "still" in queuectl.refusal(
            "worker", "stop", who["name"][:-2], "--timeout", "0", code=1
        )
        (tmp_path / "go").touch()
        assert program.process.wait(20) == 0

    assert ids_in(path, "completed") == ["a"]
    assert ids_in(path, "pending") == ["b"]
    assert os.listdir(path / "workers") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_python_turns_into_exceptions_give_the_job_back(spool, path, tmp_path, number):
    spool.enqueue("true", id="a")
    # A shell that runs the tests in the background has them ignore SIGINT.
    interrupts = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n{interrupts}\n{HOLDING}"
    with Program(code, tmp_path) as program:
        until(program.runs)
        program.process.send_signal(number)
        assert program.process.wait(10) in (3, -signal.SIGINT)

    assert "-a0-a.json" in names(path, "pending")[0]
    assert os.listdir(path / "workers") == os.listdir(path / "processing") == []


def test_a_program_that_dies_of_an_exception_beside_the_block_leaves_nothing(spool, path, tmp_path):
    spool.enqueue("true", id="a")
    code = f"""
from queuectl import Spool

for job in Spool({str(path)!r}).consume():
    raise RuntimeError("the program's own")
"""
    with Program(code, tmp_path) as program:
        assert program.process.wait(20) == 1

    assert "the program's own" in program.log.read_text()
    assert "-a0-a.json" in names(path, "pending")[0]
    assert os.listdir(path / "workers") == os.listdir(path / "processing") == []


def test_a_program_that_ends_while_a_thread_of_it_works_gives_the_job_back(spool, path, tmp_path):
    spool.enqueue("true", id="a")
    code = f"""
import threading
from queuectl import Spool

begun = threading.Event()

def work():
    for job in Spool({str(path)!r}).consume():
        with job:
            begun.set()
            threading.Event().wait()

threading.Thread(target=work, daemon=True).start()
begun.wait()
"""
    with Program(code, tmp_path) as program:
        assert program.process.wait(20) == 0

    assert "-a0-a.json" in names(path, "pending")[0]
    assert os.listdir(path / "workers") == os.listdir(path / "processing") == []


def test_several_threads_consume_beside_each_other(spool, path, tmp_path):
    spool.enqueue_all([{"command": "true", "id": f"job-{number}"} for number in range(40)])
    code = f"""
import threading
from queuectl import Spool

spool = Spool({str(path)!r})
together = threading.Barrier(4)

def work():
    consumer = spool.consume(wait=False)
    with consumer:
        for number, job in enumerate(consumer):
            with job:
                if not number:
                    together.wait()  # all four hold a job at once
                if job.attempt == 1 and job.id == "job-39":
                    raise ValueError

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    with Program(code, tmp_path) as program:
        assert program.process.wait(30) == 0, program.log.read_text()

    assert len(ids_in(path, "completed")) == 39
    assert ids_in(path, "failed") == ["job-39"]
    assert os.listdir(path / "workers") == []


def test_a_lost_claim_ends_a_program_that_does_not_expect_it(spool, path, tmp_path):
    """Somebody moved the job by hand."""
    spool.enqueue("true", id="a")
    with Program(HOLDING, tmp_path) as program:
        until(program.runs)
        [file] = (path / "processing").glob("*/*")
        file.rename(path / "pending" / file.name)
        until(lambda: not ids_in(path, "processing"))
        (tmp_path / "go").touch()
        assert program.process.wait(20) == 1

    assert LostClaim.__name__ in program.log.read_text()
