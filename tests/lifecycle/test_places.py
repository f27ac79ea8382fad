"""Workers elsewhere: another pid namespace is another place, as another host is, and hears of us through files only."""

import os
import signal
import subprocess

import pytest

from queuectl import host, processes
from tests.support import Workers, ids_in, until

ELSEWHERE = [
    "unshare",
    "--user",
    "--map-root-user",
    "--pid",
    "--mount-proc",
    "--fork",
    "--kill-child",
]


def _why_not():
    try:
        done = subprocess.run([*ELSEWHERE, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no unshare(1) here"
    return "" if done.returncode == 0 else f"no namespaces here: {done.stderr.strip()}"


pytestmark = pytest.mark.skipif(bool(why := _why_not()), reason=why)


@pytest.fixture
def elsewhere(queuectl, path):
    queuectl("config", "set", "heartbeat_interval", "0.5")
    with Workers(path, "--count", "2", prefix=ELSEWHERE) as workers:
        until(lambda: len(list((path / "workers").glob("*.json"))) == 2)
        yield workers
        if workers.process.poll() is None:
            queuectl("worker", "stop", "--all-hosts", "--now")
            workers.process.wait(30)


def test_workers_elsewhere_are_left_alone_unless_they_are_meant_and_that_is_said(
    queuectl, elsewhere
):
    done = queuectl.run("worker", "stop", "--host", "nowhere")

    assert (done.returncode, done.stdout) == (0, "")
    here = host.place().host
    assert f"run on nowhere; some run on {here}: see --host and --all-hosts" in done.stderr
    assert elsewhere.process.poll() is None


def test_a_worker_elsewhere_that_outlived_its_supervisor_is_waited_for(queuectl, path, tmp_path):
    queuectl("enqueue", "--id", "a", "-c", f"until test -e {tmp_path}/go; do sleep 0.02; done")
    keeper = f'"$@" & wait; until test -e {tmp_path}/end; do sleep 0.02; done'
    with Workers(path, prefix=[*ELSEWHERE, "sh", "-c", keeper, "sh"]) as workers:
        until(lambda: ids_in(path, "processing") == ["a"])
        [shell] = processes.children(workers.process.pid)
        [boss] = processes.children(shell)
        os.kill(boss, signal.SIGKILL)
        until(lambda: boss not in processes.children(shell))

        refused = queuectl.refusal("worker", "stop", "--timeout", "0.1", code=1)
        assert f" on {host.place().host}, in another container" in refused
        (tmp_path / "go").touch()
        until(lambda: ids_in(path, "completed") == ["a"])
        (tmp_path / "end").touch()
        workers.process.wait(20)


def first_worker(queuectl):
    return queuectl.json("worker", "list")[0]["name"]


@pytest.mark.parametrize(
    "words",
    [
        lambda _: [],
        lambda _: ["--all-hosts"],
        lambda _: ["--host", host.place().host],
        lambda q: [first_worker(q)],
    ],
)
def test_workers_elsewhere_are_stopped_through_the_spool(queuectl, path, elsewhere, words):
    queuectl("enqueue", "--id", "a", "-c", "sleep 0.3")
    until(lambda: ids_in(path, "processing") == ["a"])

    out = queuectl("worker", "stop", *words(queuectl))

    assert f" on {host.place().host}, in another container" in out
    elsewhere.process.wait(30)
    assert ids_in(path, "completed") == ["a"]
    assert os.listdir(path / "workers") == []


def test_workers_elsewhere_end_their_commands_when_asked_to_stop_now(queuectl, path, elsewhere):
    queuectl("enqueue", "--id", "a", "-c", "sleep 600")
    until(lambda: ids_in(path, "processing") == ["a"])

    queuectl("worker", "stop", "--all-hosts", "--now")

    elsewhere.process.wait(30)
    assert ids_in(path, "pending") == ["a"]


def test_a_job_that_runs_elsewhere_is_cancelled_through_the_spool(queuectl, path, elsewhere):
    queuectl("enqueue", "--id", "a", "-c", "sleep 600")
    until(lambda: ids_in(path, "processing") == ["a"])

    queuectl("cancel", "a")

    until(lambda: ids_in(path, "dead") == ["a"])


def test_a_name_that_fits_no_worker_or_those_of_several_supervisors_stops_nobody(
    queuectl, path, elsewhere
):
    with Workers(path) as workers:
        workers.up()
        assert "no worker 'x-1'" in queuectl.refusal("worker", "stop", "x-1", code=3)
        assert "2 supervisors" in queuectl.refusal("worker", "stop", host.place().host[:1], code=3)
        assert workers.process.poll() is None


def test_the_ways_to_choose_workers_exclude_each_other(queuectl, path):
    queuectl("init")
    assert "exclude" in queuectl.refusal("worker", "stop", "--all-hosts", "name", code=2)


def test_what_a_command_prints_is_kept_where_proc_is_that_of_another_namespace(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "echo said; echo warned >&2")
    with Workers(path, prefix=[word for word in ELSEWHERE if word != "--mount-proc"]):
        until(lambda: ids_in(path, "completed") == ["a"])
        assert queuectl("logs", "a", "--stdout") == "said\n"
        queuectl("worker", "stop", "--all-hosts")
