"""One `worker start` for several spools."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl import Spool, host
from tests.lifecycle.test_waiting import crowd
from tests.support import Command, Workers, ids_in, until


@pytest.fixture
def spools(tmp_path):
    return [tmp_path / "one", tmp_path / "two"]


def words(spools):
    return [word for spool in spools for word in ("--spool", str(spool))]


def test_spools_share_the_workers_and_neither_waits_for_the_other(spools, tmp_path):
    command, crowds = crowd(tmp_path)
    Spool(spools[0]).enqueue_all([command] * 120)
    Spool(spools[1]).enqueue_all([command] * 12)

    with Workers(spools[0], *words(spools), "--count", "3", "--drain") as workers:
        assert workers.process.wait(50) == 0

    assert crowds() == (3, 132)
    order = [event["spool"] for event in workers.events("completed")]
    assert len(order) == 132
    # Served one after the other, the last of the second spool would have been number 132, or 121 at best.
    assert max(index for index, spool in enumerate(order) if spool == str(spools[1])) < 100


def test_one_spool_alone_may_use_all_workers(spools, tmp_path):
    command, crowds = crowd(tmp_path)
    Spool(spools[0]).make()
    with Workers(spools[0], *words(spools), "--count", "3"):
        Spool(spools[1]).enqueue_all([command] * 30)
        until(lambda: len(ids_in(spools[1], "completed")) == 30)
    assert crowds() == (3, 30)


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_script_starts_with_an_ampersand_is_ended_by_quit(spools, count):
    """A shell without job control lets what it starts with & ignore INT and QUIT."""
    behind = ("/bin/sh", "-c", "trap '' INT QUIT; exec \"$@\"", "sh")
    with Workers(spools[0], *words(spools[:count]), prefix=behind) as workers:
        until(lambda: workers.events("supervising"))
        workers.process.send_signal(signal.SIGQUIT)
        workers.process.wait(20)


def test_a_supervisor_that_is_stopped_or_killed_leaves_its_turns_to_the_others(spools, tmp_path):
    Spool(spools[0]).enqueue({"command": "sleep 600", "id": "long"})
    Spool(spools[1]).make()
    with Workers(spools[0], *words(spools), "--count", "1") as workers:
        until(lambda: ids_in(spools[0], "processing") == ["long"])
        Spool(spools[1]).enqueue({"command": "true", "id": "waits"})
        [boss] = (spools[0] / "workers").glob("*.supervisor")
        pid = json.loads(boss.read_text())["pid"]

        os.kill(pid, signal.SIGKILL)

        until(lambda: ids_in(spools[1], "completed") == ["waits"])
        Command(spools[1])("worker", "stop")
        assert workers.process.wait(30) == 1
    assert "1 of 2 supervisors ended with an error" in workers.log_path.read_text()


def test_a_worker_that_is_killed_leaves_its_turn_to_the_others(spools):
    Spool(spools[0]).enqueue({"command": "sleep 600", "id": "long", "max_retries": 1})
    Spool(spools[1]).make()
    with Workers(spools[0], *words(spools), "--count", "1") as workers:
        until(lambda: ids_in(spools[0], "processing") == ["long"])
        Spool(spools[1]).enqueue({"command": "true", "id": "waits"})
        [file] = (spools[0] / "workers").glob("*.json")

        os.kill(json.loads(file.read_text())["pid"], signal.SIGKILL)

        until(lambda: ids_in(spools[1], "completed") == ["waits"])
    assert [event["job"] for event in workers.events("rescued")] == ["long"]


DEAF = """
import os, signal, sys, time
from pathlib import Path
from queuectl.fleet import Fleet

place = Path(sys.argv[1])
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as the command line has it

def until(name):
    while not (place / name).exists():
        time.sleep(0.01)

def works(turns, ready):
    while not turns.take(1, 1):
        turns.hear()
    (place / "works").touch()
    until("go")
    turns.end(1)
    (place / "over").touch()
    until("done")

def asks(turns, ready):
    until("works")
    turns.take(2, 1)
    (place / "asks").write_text(str(os.getpid()))
    until("never")

Fleet(1, [works, asks]).run()
"""


def test_a_turn_that_comes_too_late_for_a_supervisor_does_not_end_the_fleet(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", DEAF, str(tmp_path)], stderr=subprocess.PIPE, text=True
    ) as fleet:
        until(lambda: (tmp_path / "asks").exists() and (tmp_path / "asks").read_text())
        fleet.send_signal(signal.SIGSTOP)
        os.kill(int((tmp_path / "asks").read_text()), signal.SIGKILL)
        (tmp_path / "go").touch()
        until((tmp_path / "over").exists)
        fleet.send_signal(signal.SIGCONT)
        (tmp_path / "done").touch()
        assert "1 of 2 supervisors ended with an error" in fleet.communicate(timeout=30)[1]
        assert fleet.returncode == 1


@pytest.mark.parametrize(
    ("signals", "state"),
    [
        ([signal.SIGTERM], "completed"),
        ([signal.SIGTERM, signal.SIGTERM], "completed"),
        ([signal.SIGTERM, signal.SIGQUIT], "pending"),
    ],
)
def test_a_signal_stops_all_of_them_and_only_a_hard_one_their_jobs_too(
    spools, tmp_path, signals, state
):
    flag = tmp_path / "go"
    for spool in spools:
        Spool(spool).enqueue({"command": f"until test -e {flag}; do sleep 0.02; done", "id": "a"})
    with Workers(spools[0], *words(spools), "--count", "2") as workers:
        until(lambda: [ids_in(spool, "processing") for spool in spools] == [["a"], ["a"]])
        for number, sent in enumerate(signals, 1):
            workers.process.send_signal(sent)
            told = 2 * len(set(signals[:number]))
            until(lambda told=told: len(workers.events("stopping")) == told)
        if state == "completed":
            flag.touch()
        assert workers.process.wait(30) == 0
    assert [ids_in(spool, state) for spool in spools] == [["a"], ["a"]]


def test_supervisors_whose_fleet_is_killed_end_after_their_jobs(spools, tmp_path):
    flag = tmp_path / "go"
    for spool in spools:
        Spool(spool).enqueue({"command": f"until test -e {flag}; do sleep 0.02; done", "id": "a"})
    with Workers(spools[0], *words(spools), "--count", "2") as workers:
        until(lambda: [ids_in(spool, "processing") for spool in spools] == [["a"], ["a"]])
        bosses = [
            json.loads(path.read_text())["pid"]
            for spool in spools
            for path in (spool / "workers").glob("*.supervisor")
        ]
        workers.process.kill()
        flag.touch()
        until(lambda: not any(host.is_running(pid) for pid in bosses))
    assert [ids_in(spool, "completed") for spool in spools] == [["a"], ["a"]]


def test_in_the_background_it_is_ready_when_all_workers_of_all_spools_are(spools):
    for spool in spools:
        Spool(spool).enqueue({"command": "true", "id": "a"})
    pid, log = Command(spools[0])("worker", "start", *words(spools), "--daemon").split()
    assert Path(log).parent == spools[0] / "logs"
    until(lambda: [ids_in(spool, "completed") for spool in spools] == [["a"], ["a"]])
    for spool in spools:
        Command(spool)("worker", "stop")
    until(lambda: not host.is_running(int(pid)))


def test_a_spool_that_is_named_twice_is_refused(spools):
    assert "named twice" in Command(spools[0]).refusal(
        "worker", "start", "--spool", str(spools[0]), "--spool", f"{spools[0]}/", code=2
    )


MOMENTS = """
import os, signal, sys, time
from queuectl.fleet import Fleet

def supervise(turns, ready):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    ready()
    time.sleep(100 if moment == "a start" else 0)

def told_after(call, when):
    def told(*words):
        answer = call(*words)
        if when(answer):
            moments.append(answer)
            if len(moments) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
        return answer
    return told

moment, moments = sys.argv[1], []
if moment == "a start":
    os.fork = told_after(os.fork, lambda pid: pid)
else:
    os.waitpid = told_after(os.waitpid, lambda ended: ended[0])
Fleet(1, [supervise] * 3).run()
"""


@pytest.mark.parametrize("moment", ["a start", "an end"])
def test_who_is_told_to_stop_amid_a_start_or_an_end_stops_all(moment):
    done = subprocess.run(
        [sys.executable, "-c", MOMENTS, moment],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
