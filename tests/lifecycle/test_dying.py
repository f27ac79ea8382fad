"""Dying: what SIGKILL, TERM and Ctrl+C do to workers, supervisors and their jobs."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pexpect
import pytest

from queuectl import config, host, liveness, phase
from queuectl.chores import Chores
from queuectl.crew import Crew, Hand
from queuectl.host import is_running
from queuectl.log import Log
from queuectl.processes import of_worker
from queuectl.supervisor import Supervisor
from queuectl.wire import pair
from tests.support import Workers, environment, ids_in, names, until


def pidfile_job(queuectl, tmp_path, id="a", **flags):
    """A job that notes each run's pid and waits to be let go."""
    words = [
        word for key, value in flags.items() for word in (f"--{key.replace('_', '-')}", str(value))
    ]
    queuectl(
        "enqueue",
        "--id",
        id,
        *words,
        "-c",
        f"echo $$ >> {tmp_path}/pids; until test -e {tmp_path}/go; do sleep 0.02; done",
    )


def pids(tmp_path):
    return (
        [int(line) for line in (tmp_path / "pids").read_text().split()]
        if (tmp_path / "pids").exists()
        else []
    )


def test_a_rescue_that_comes_too_early_is_tried_again_soon(spool, path):
    config.change(spool.at("config.json"), spool.temporary(), {"heartbeat_interval": 3600.0})
    chores = Chores(
        spool, "boss", Crew(), Log(os.open(os.devnull, os.O_WRONLY), "json"), lambda: None
    )
    chores.begin()
    chores.tend()
    # Its lock is held for as long as a command of its is between vfork and exec.
    record, lock = liveness.enroll(spool, "boss", os.getpid())
    spool.enqueue({"id": "a", "command": "true"})
    [entry] = spool.entries("pending")
    spool.claim(entry.file, record.worker, spool.now())
    try:
        chores.bury(record.worker)
        assert ids_in(path, "processing") == ["a"]

        os.close(lock)

        until(lambda: chores.tend() or ids_in(path, "failed") == ["a"])
    finally:
        chores.end()


def test_the_first_chores_clear_away_what_the_dead_left_and_wake_whom_they_left_asleep(spool, path):
    here = host.place()
    left = path / "tmp" / f"1~{here._replace(boot='00000000-0')}~1abc"
    left.touch()
    os.utime(left, (0, host.booted_at() - 1))
    (path / "blocked" / "after.gone").mkdir(parents=True)
    (path / "blocked" / "after.gone" / "20261122T101502.123456Z-p5-a0-a.json").write_text(
        '{"command": "true"}'
    )
    moved = []
    chores = Chores(
        spool,
        "boss",
        Crew(),
        Log(os.open(os.devnull, os.O_WRONLY), "json"),
        lambda: moved.append(1),
    )
    chores.begin()
    chores.hurry()

    chores.tend()

    chores.end()
    assert os.listdir(path / "tmp") == []
    assert ids_in(path, "pending") == ["a"]
    assert moved


def test_a_killed_workers_job_runs_again_and_its_orphan_is_ended_first(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        [record] = workers.up()

        os.kill(record["pid"], signal.SIGKILL)

        until(lambda: len(pids(tmp_path)) == 2)
        assert not is_running(pids(tmp_path)[0])
        (tmp_path / "go").touch()
        until(lambda: ids_in(path, "completed") == ["a"])
    assert [run["outcome"] for run in queuectl.json("show", "a")["runs"]] == ["lost", "completed"]
    assert len(workers.events("worker_died")) == 1


def test_a_job_that_kills_its_worker_each_time_is_dead_after_max_retries(queuectl, path):
    queuectl("enqueue", "--id", "poison", "--max-retries", "2", "-c", "kill -9 $PPID")
    with Workers(path):
        until(lambda: ids_in(path, "dead") == ["poison"])
    assert [run["outcome"] for run in queuectl.json("show", "poison")["runs"]] == ["lost", "lost"]


def test_after_everything_was_killed_the_next_start_loses_nothing(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    for id in ("b", "c"):
        queuectl("enqueue", "--id", id, "-c", "true")
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        workers.kill()
    assert ids_in(path, "processing") == ["a"]
    (tmp_path / "go").touch()

    queuectl("worker", "start", "--drain")

    assert ids_in(path, "completed") == ["a", "b", "c"]
    assert names(path, "processing") == os.listdir(path / "workers") == []


def test_a_worker_whose_supervisor_was_killed_finishes_its_job_and_ends(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        [record] = workers.up()
        os.kill(workers.process.pid, signal.SIGKILL)
        workers.process.wait(10)
        (tmp_path / "go").touch()
        until(lambda: not is_running(record["pid"]))

    assert ids_in(path, "completed") == ["a"]
    assert len(pids(tmp_path)) == 1
    assert list((path / "workers").glob("*.json")) == []


def test_another_supervisor_rescues_without_a_restart(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as first:
        until(lambda: pids(tmp_path))
        with Workers(path, "--set", "heartbeat_interval=0.5") as second:
            second.up()
            first.kill()
            until(lambda: len(pids(tmp_path)) == 2)
            (tmp_path / "go").touch()
            until(lambda: ids_in(path, "completed") == ["a"])


def test_the_first_term_lets_the_running_job_finish(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        workers.process.send_signal(signal.SIGTERM)
        until(lambda: workers.events("stopping"))
        queuectl("enqueue", "--id", "b", "-c", "true")
        (tmp_path / "go").touch()
        assert workers.process.wait(20) == 0

    assert ids_in(path, "completed") == ["a"]
    assert ids_in(path, "pending") == ["b"]


@pytest.mark.parametrize("signals", [[signal.SIGQUIT], [signal.SIGTERM, signal.SIGQUIT]])
def test_a_stop_now_ends_the_command_and_puts_the_job_back_uncounted(
    queuectl, path, tmp_path, signals
):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        for number, sent in enumerate(signals, 1):
            workers.process.send_signal(sent)
            until(lambda number=number: len(workers.events("stopping")) == number)
        assert workers.process.wait(20) == 0

    assert not is_running(pids(tmp_path)[0])
    assert "-a0-a.json" in names(path, "pending")[0]
    assert os.listdir(path / "workers") == names(path, "processing") == []


#: Words before a command that has no terminal then.
WITHOUT_TERMINAL = ("setsid",)

SOFT = [
    [signal.SIGTERM] * 3,
    [signal.SIGINT] * 3,
    [signal.SIGHUP] * 2,
    [signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
]


@pytest.mark.parametrize("signals", SOFT, ids=str)
def test_a_soft_stop_that_is_repeated_is_still_a_soft_stop(queuectl, path, tmp_path, signals):
    pidfile_job(queuectl, tmp_path)
    with Workers(path, prefix=WITHOUT_TERMINAL) as workers:
        until(lambda: pids(tmp_path))
        for number in signals:
            workers.process.send_signal(number)
        until(lambda: workers.events("stopping"))
        for number in signals:
            workers.process.send_signal(number)
        (tmp_path / "go").touch()
        assert workers.process.wait(20) == 0

    assert ids_in(path, "completed") == ["a"]
    assert [event["now"] for event in workers.events("stopping")] == [False]


def test_worker_stop_that_is_repeated_lets_the_running_job_finish(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        for _ in range(3):
            queuectl.refusal("worker", "stop", "--timeout", "0.01", code=1)
        (tmp_path / "go").touch()
        assert workers.process.wait(20) == 0

    assert ids_in(path, "completed") == ["a"]
    assert [event["now"] for event in workers.events("stopping")] == [False]


def test_signals_without_a_meaning_change_nothing(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        [record] = workers.up()

        for number in phase.IGNORED:
            workers.process.send_signal(number)
            os.kill(record["pid"], number)

        (tmp_path / "go").touch()
        until(lambda: ids_in(path, "completed") == ["a"])
        queuectl("enqueue", "--id", "b", "-c", "true")
        until(lambda: ids_in(path, "completed") == ["a", "b"])
    assert len(pids(tmp_path)) == 1
    assert workers.events("worker_died") == []


def test_worker_stop_now_does_the_same_from_outside(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        assert "still running" in queuectl.refusal("worker", "stop", "--timeout", "0.2", code=1)
        queuectl("worker", "stop", "--now")
        assert workers.process.wait(20) == 0
    assert ids_in(path, "pending") == ["a"]


def test_ctrl_c_on_a_terminal_stops_in_order_and_shows_no_traceback(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    env = {name: value for name, value in environment(path).items() if name != "NO_COLOR"}
    terminal = pexpect.spawn(
        sys.executable, ["-m", "queuectl", "worker", "start"], env=env, timeout=20, encoding="utf-8"
    )
    try:
        terminal.expect_exact("\x1b[36mstarted")  # in colour
        until(lambda: pids(tmp_path))
        terminal.sendintr()
        terminal.expect("stopping")
        (tmp_path / "go").touch()
        terminal.expect("stopped")
        terminal.expect(pexpect.EOF)
        assert "Traceback" not in terminal.before
    finally:
        terminal.close(force=True)
    assert ids_in(path, "completed") == ["a"]


def test_ctrl_c_twice_on_a_terminal_ends_the_running_jobs(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    terminal = pexpect.spawn(
        sys.executable, ["-m", "queuectl", "worker", "start"], env=environment(path), timeout=20
    )
    try:
        until(lambda: pids(tmp_path))
        terminal.sendintr()
        terminal.expect("stopping")
        until(lambda: terminal.sendintr() or not is_running(pids(tmp_path)[0]))
        terminal.expect("stopped")
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
    assert "-a0-a.json" in names(path, "pending")[0]


def test_a_closed_terminal_is_a_stop(queuectl, path):
    terminal = pexpect.spawn(
        sys.executable, ["-m", "queuectl", "worker", "start"], env=environment(path), timeout=20
    )
    terminal.expect("supervising")
    until(lambda: list((path / "workers").glob("*.json")))
    with suppress(pexpect.ExceptionPexpect):  # it may take longer to stop than that library waits
        terminal.close(force=False)

    until(lambda: not is_running(terminal.pid))
    until(lambda: os.listdir(path / "workers") == [])


def test_a_running_job_is_cancelled(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path, "--set", "heartbeat_interval=3600", "--set", "worker_lost_after=20000"):
        until(lambda: pids(tmp_path))

        assert "told to end" in queuectl("cancel", "a")

        until(lambda: ids_in(path, "dead") == ["a"])
        until(lambda: names(path, "processing") == [])
    assert not is_running(pids(tmp_path)[0])
    record = queuectl.json("show", "a")
    assert (record["runs"][0]["outcome"], record["runs"][0]["reason"]) == (
        "cancelled",
        "cancelled while it ran",
    )
    queuectl("wait", "a", code=130)


def test_a_request_to_cancel_that_no_signal_announced_is_seen_at_a_heartbeat(
    queuectl, path, tmp_path
):
    pidfile_job(queuectl, tmp_path)
    with Workers(path, "--set", "heartbeat_interval=0.5"):
        until(lambda: pids(tmp_path))
        [file] = (path / "processing").glob("*/*.json")

        file.with_name(file.name + ".cancel").touch()

        until(lambda: ids_in(path, "dead") == ["a"])


def test_a_waiting_job_is_cancelled_and_can_be_brought_back(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    queuectl("cancel", "a")
    assert queuectl.json("dlq", "list")[0]["reason"] == "cancelled before it ran"

    queuectl("dlq", "retry", "a")

    assert ids_in(path, "pending") == ["a"]


def test_a_worker_that_was_stopped_by_hand_is_replaced(queuectl, path):
    with Workers(path) as workers:
        [first] = workers.up()
        os.kill(first["pid"], signal.SIGTERM)
        until(lambda: any(record["pid"] != first["pid"] for record in workers.records()))


def test_a_dead_watch_is_replaced_by_looking(queuectl, path):
    with Workers(path, "--set", "poll_interval=0.1") as workers:
        [record] = workers.up()
        children = until(
            lambda: [pid for pid in child_pids(workers.process.pid) if pid != record["pid"]]
        )
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        queuectl("enqueue", "--id", "a", "-c", "true")
        until(lambda: ids_in(path, "completed") == ["a"])


def child_pids(parent):
    found = []
    for name in os.listdir("/proc"):
        try:
            if (
                name.isdigit()
                and int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
                == parent
            ):
                found.append(int(name))
        except OSError:
            continue
    return found


def test_nothing_is_left_running_after_a_stop(queuectl, path):
    with Workers(path, "--count", "2") as workers:
        records = workers.up(2)
        children = until(lambda: len(found := child_pids(workers.process.pid)) == 3 and found)
        queuectl("worker", "stop")
        workers.process.wait(10)
    assert not any(is_running(pid) for pid in children)
    assert not any(of_worker(record["worker"]) for record in records)


def test_a_worker_whose_supervisor_was_killed_does_not_wait_for_the_job_of_another(
    spool, path, tmp_path
):
    wait = f"touch {tmp_path}/started.$QUEUECTL_WORKER; until test -e {tmp_path}/go.$QUEUECTL_WORKER; do sleep 0.02; done"
    spool.enqueue_all([wait, wait])
    with Workers(path, "--count", "2") as workers:
        first, second = sorted(workers.up(2), key=lambda record: record["pid"])
        until(
            lambda: all(
                (tmp_path / f"started.{record['worker']}").exists() for record in (first, second)
            )
        )
        os.kill(workers.process.pid, signal.SIGKILL)
        workers.process.wait(10)

        (tmp_path / f"go.{first['worker']}").touch()

        until(lambda: not is_running(first["pid"]))
        assert is_running(second["pid"])
        (tmp_path / f"go.{second['worker']}").touch()
        until(lambda: not is_running(second["pid"]))


def test_a_worker_whose_supervisor_was_killed_ends_after_the_job_it_has(
    spool, queuectl, path, tmp_path
):
    quick = [{"command": ["true"]}] * 50
    wait = {
        "id": "a",
        "command": f"touch {tmp_path}/started; until test -e {tmp_path}/go; do sleep 0.02; done",
    }
    spool.enqueue_all([*quick, wait, *quick])
    with Workers(path) as workers:
        [record] = workers.up()
        until((tmp_path / "started").exists)
        os.kill(workers.process.pid, signal.SIGKILL)
        workers.process.wait(10)

        (tmp_path / "go").touch()

        until(lambda: not is_running(record["pid"]))
    assert len(ids_in(path, "completed")) == 51
    assert len(ids_in(path, "pending")) == 50


def test_the_end_of_a_worker_with_names_makes_durable_what_it_may_not_have_told(spool):
    supervisor = Supervisor(spool.make(), 1, Log(os.open(os.devnull, os.O_WRONLY), "json"))
    here, there = pair()
    supervisor._bury(Hand(1, here, 0.0), 0)

    assert supervisor.flusher.wakes_at() is not None
    there.close()


def test_names_that_a_worker_had_when_it_died_are_given_to_another_at_once(spool):
    supervisor = Supervisor(spool.make(), 2, Log(os.open(os.devnull, os.O_WRONLY), "json"))
    lines = [pair(), pair()]
    dying, idle = (Hand(number, here, 0.0) for number, (here, _) in enumerate(lines))
    spool.enqueue("true")
    dying.wants = 1
    supervisor.dealer.deal([dying, idle], 3600)
    dying.held_since += 600  # no time passes
    idle.wants = 1
    supervisor.dealer.deal([dying, idle], 3600)
    assert (len(dying.held), len(idle.held)) == (1, 0)

    supervisor._bury(dying, 0)
    supervisor.dealer.deal([idle], 3600)

    assert idle.held == dying.held
    idle.line.close()
    for _, there in lines:
        there.close()


CRAMPED = """
import errno, os, sys
from queuectl import Spool
from queuectl.log import Log
from queuectl.supervisor import Supervisor

real, forks = os.fork, []

def fork():
    forks.append(1)
    if len(forks) > 1:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return real()

os.fork = fork
Supervisor(Spool(sys.argv[1]), 2, Log(2, "json"), drain=True).run()
"""


def test_a_drain_ends_although_one_of_its_workers_cannot_be_born(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")

    done = subprocess.run(
        [sys.executable, "-c", CRAMPED, str(path)],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert ids_in(path, "completed") == ["a"]


def test_ctrl_c_is_nothing_to_workers_that_a_script_has_started_with_an_ampersand(queuectl, path):
    queuectl("init")
    with Workers(path, prefix=("/bin/sh", "-c", "trap '' INT QUIT; exec \"$@\"", "sh")) as workers:
        workers.up()
        workers.process.send_signal(signal.SIGINT)
        workers.process.send_signal(signal.SIGTERM)
        workers.process.wait(20)
    # INT and TERM together would have ended running jobs.
    assert [event["now"] for event in workers.events("stopping")] == [False]
