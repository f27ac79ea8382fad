"""Living on a host: what systemd is told, logs that grow, what a supervisor inherits."""

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from queuectl import config, processes
from queuectl.host import is_running
from tests.support import Workers, environment, ids_in, until


class Listener:
    """The socket that systemd would listen on; `address` as it would name it."""

    def __init__(self, address):
        self.address, self.heard = address, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.socket.setblocking(False)

    def says(self, text):
        """Whether a datagram begins like this, by now."""
        while True:
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return [said for said in self.heard if said.startswith(text)]


@pytest.fixture(params=["path", "abstract"])
def listener(request):
    # A socket's path may have 108 bytes: too few for pytest's directories.
    directory = tempfile.mkdtemp()
    found = Listener(
        f"@queuectl-{os.getpid()}-{os.urandom(4).hex()}"
        if request.param == "abstract"
        else f"{directory}/notify"
    )
    yield found
    found.socket.close()
    shutil.rmtree(directory)


def test_systemd_hears_when_all_are_up_how_things_are_and_of_the_end(queuectl, path, listener):
    queuectl("enqueue", "--id", "a", "-c", "sleep 60")
    with Workers(
        path, "--count", "2", "--set", "heartbeat_interval=0.5", NOTIFY_SOCKET=listener.address
    ) as workers:
        until(lambda: listener.says("READY=1"))
        assert len(workers.records()) == 2
        until(lambda: "STATUS=2 workers, 1 of them busy" in listener.says("STATUS="))
        assert listener.says("STOPPING=1") == listener.says("WATCHDOG=1") == []
        queuectl("worker", "stop", "--now")
        until(lambda: listener.says("STOPPING=1"))
    assert len(listener.says("READY=1")) == len(listener.says("STOPPING=1")) == 1


def test_a_supervisor_with_nothing_to_do_wakes_for_the_watchdog(path, listener):
    with Workers(
        path,
        "--set",
        "poll_interval=1h",
        "--set",
        "heartbeat_interval=1h",
        NOTIFY_SOCKET=listener.address,
        WATCHDOG_USEC="200000",
    ):
        until(lambda: len(listener.says("WATCHDOG=1")) >= 5)


def test_systemd_hears_one_voice_of_those_who_serve_several_spools(path, tmp_path, listener):
    other = tmp_path / "other"
    with Workers(
        path,
        "--spool",
        str(path),
        "--spool",
        str(other),
        NOTIFY_SOCKET=listener.address,
        WATCHDOG_USEC="200000",
    ) as workers:
        until(lambda: listener.says("READY=1"))
        assert all(list((spool / "workers").glob("*.json")) for spool in (path, other))
        until(lambda: len(listener.says("WATCHDOG=1")) >= 5)
        workers.process.terminate()
        until(lambda: workers.process.poll() is not None)
        assert len(listener.says("READY=1")) == len(listener.says("STOPPING=1")) == 1
        assert listener.says("STATUS=") == []  # that of a supervisor would be that of one spool


def test_a_watchdog_for_another_process_is_not_ours(path, listener):
    with Workers(path, NOTIFY_SOCKET=listener.address, WATCHDOG_USEC="1000", WATCHDOG_PID="1"):
        until(lambda: listener.says("READY=1"))
        assert listener.says("WATCHDOG=1") == []


def test_no_job_sees_the_socket_of_systemd(queuectl, path, listener):
    queuectl("enqueue", "--id", "a", "-c", "env | grep -c -e ^NOTIFY_SOCKET -e ^WATCHDOG")
    with Workers(path, NOTIFY_SOCKET=listener.address, WATCHDOG_USEC="10000000", WATCHDOG_PID="1"):
        until(lambda: ids_in(path, "failed") or ids_in(path, "completed"))
    assert queuectl.json("show", "a")["runs"][0]["stdout_tail"] == "0\n"


def test_a_systemd_that_does_not_listen_holds_nobody_up(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    queuectl("worker", "start", "--drain", NOTIFY_SOCKET="/no/such/socket")
    assert ids_in(path, "completed") == ["a"]


# -- logs


@pytest.fixture
def background(queuectl):
    """A supervisor in the background with a log of 4 kB: its log's path."""
    queuectl("config", "set", "log_size", "4096")

    def start(*words):
        out = queuectl("worker", "start", "--daemon", *words)
        return Path(re.fullmatch(r"\d+ (\S+)\n", out)[1])

    yield start
    queuectl("worker", "stop", "--now")


def completed_in(log):
    """The ids that a log and those before it say completed."""
    texts = [file.read_text() for file in log.parent.glob(f"{log.name}*")]
    return sorted(re.findall(r" completed +(\S+)", "".join(texts)))


def test_a_log_that_grows_is_begun_anew_and_no_line_is_lost(queuectl, background):
    log = background("--count", "2")
    ids = [f"j{number:03}" for number in range(200)]
    jobs = "".join(f'{{"id": "{id}", "command": "true"}}\n' for id in ids)
    queuectl("enqueue", "-", input=jobs[: len(jobs) // 2])
    until(lambda: log.with_name(log.name + ".1").exists())
    queuectl("enqueue", "-", input=jobs[len(jobs) // 2 :])

    until(lambda: completed_in(log) == ids)


def test_five_logs_are_kept_beside_the_one_that_is_written(queuectl, path):
    """In a process of its own: the log takes its stdout and stderr."""
    code = """
import os, sys
from queuectl import logfile
logfile.LOOK = 0.0
file = logfile.LogFile(sys.argv[1])
for number in range(9):
    os.write(2, b"%d" % number * 10)
    file.rotate(10)
"""
    queuectl("init")
    log = path / "logs" / "workers-x.log"
    subprocess.run([sys.executable, "-c", code, str(log)], check=True)

    assert {file.name: file.read_text() for file in log.parent.iterdir()} == {
        "workers-x.log": "", **{f"workers-x.log.{number}": str(9 - number) * 10 for number in range(1, 6)},
    }  # fmt: skip


@pytest.mark.parametrize("remove", [True, False], ids=["rm", "mv"])
def test_a_log_that_somebody_took_away_is_made_again(queuectl, background, remove):
    """As logrotate does. Lines go into the old one for a second at most: then a new one is at the path."""
    log = background()
    moved = log.with_name("elsewhere")
    queuectl("enqueue", "--id", "before", "-c", "true")
    until(lambda: completed_in(log) == ["before"])
    log.unlink() if remove else log.rename(moved)

    def comes_again():
        queuectl("enqueue", "-c", "true")
        return log.exists() and completed_in(log)

    until(comes_again)
    assert remove or "before" in moved.read_text()


def test_a_log_that_cannot_be_opened_anew_goes_on_where_it_is(queuectl, background, path):
    log = background()
    log.rename(log.with_name("old"))
    log.mkdir()
    queuectl("enqueue", "--id", "a", "-c", "true")
    until(lambda: ids_in(path, "completed") == ["a"])
    until(lambda: " a " in log.with_name("old").read_text())
    pid = int(queuectl.json("worker", "list")[0]["supervisor_pid"])
    assert is_running(pid)


UNTAKEN = (
    "from queuectl import signals; signals._TAKES = False; from queuectl.cli import main; main()"
)


def test_where_signals_cannot_be_taken_handlers_hear_them(queuectl, path):
    """As on systems without sigtimedwait."""
    queuectl("enqueue", "--id", "a", "-c", "sleep 600")
    words = [sys.executable, "-c", UNTAKEN, "worker", "start", "--set", "shutdown_grace=0.3"]
    supervisor = subprocess.Popen(words, env=environment(path), stderr=subprocess.DEVNULL)
    try:
        until(lambda: ids_in(path, "processing") == ["a"])
        queuectl("cancel", "a")
        until(lambda: ids_in(path, "dead") == ["a"])
        queuectl("enqueue", "--id", "b", "-c", "sleep 600")
        until(lambda: ids_in(path, "processing") == ["b"])
        queuectl("worker", "stop", "--now")
        assert supervisor.wait(30) == 0
    finally:
        supervisor.kill()
        supervisor.wait(30)
        for record in (path / "workers").glob("*.json"):
            processes.kill(json.loads(record.read_text())["pid"])
            processes.end_all(record.stem, 0)
    assert ids_in(path, "pending") == ["b"]


# -- what a supervisor inherits


NAMES = "JOB_ID ATTEMPT WORKER SUPERVISOR HOOK HOOK_RUN STATE BATCH ARRAY_INDEX LINE"

#: All that says whose process this is.
IDENTITY = {f"QUEUECTL_{name}": "x" for name in NAMES.split()}


def test_a_daemon_that_a_job_starts_is_no_part_of_the_job(queuectl, path, tmp_path):
    other = tmp_path / "other"
    start = f"{sys.executable} -m queuectl --spool {other} worker start --daemon"
    variables = " ".join(f"{name}={value}" for name, value in IDENTITY.items() if "LINE" in name)
    queuectl(
        "enqueue", "--id", "a",
        "-c", f"{variables} QUEUECTL_MAX_RETRIES=7 {start} > {tmp_path}/out; sleep 600",
    )  # fmt: skip
    with Workers(path):
        pid = int(until(lambda: (out := tmp_path / "out").exists() and out.read_text()).split()[0])
        try:
            queuectl("cancel", "a")
            until(lambda: ids_in(path, "dead") == ["a"])

            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            ours = sorted(word for word in environ if word.startswith(b"QUEUECTL_"))
            spool = b"QUEUECTL_SPOOL=" + bytes(path)
            assert ours == [b"QUEUECTL_JOB_ID=", b"QUEUECTL_MAX_RETRIES=7", spool]
            assert queuectl("--spool", str(other), "worker", "stop") == f"stopped {pid}\n"
        finally:
            if is_running(pid):
                os.kill(pid, signal.SIGQUIT)


@pytest.mark.parametrize("name", ["QUEUECTL_JOB_ID", "QUEUECTL_HOOK"])
def test_a_job_and_a_hook_are_left_with_all_that_names_them(name):
    environ = {**IDENTITY, name: "a", "QUEUECTL_SPOOL": "/s", "QUEUECTL_TIMEOUT": "5", "PATH": "/"}

    assert config.without_identity(environ) == {
        "QUEUECTL_JOB_ID": "",
        "QUEUECTL_SPOOL": "/s",
        "QUEUECTL_TIMEOUT": "5",
        "PATH": "/",
    }


def test_variables_of_others_stay_outside_of_jobs():
    environ = {"QUEUECTL_MINE": "1", "PATH": "/"}

    assert config.without_identity(environ) == environ


@pytest.mark.parametrize("is_daemon", [False, True], ids=["foreground", "daemon"])
def test_a_supervisor_keeps_nothing_open_that_its_caller_had(queuectl, path, tmp_path, is_daemon):
    """Such as the lock of a cron job that starts workers."""
    queuectl(
        "enqueue", "--id", "a", "-c", "exec ls -l /proc/self/fd > fds; sleep 600", cwd=tmp_path
    )
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    high = fcntl.fcntl(lock, fcntl.F_DUPFD, 500)
    fcntl.flock(lock, fcntl.LOCK_EX)
    words = [sys.executable, "-m", "queuectl", "worker", "start"]
    with subprocess.Popen(
        [*words, "--daemon"] if is_daemon else words,
        pass_fds=[lock, high], env=environment(path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ):  # fmt: skip
        os.close(lock)
        os.close(high)
        mine = os.open(tmp_path / "lock", os.O_RDWR)
        until(lambda: ids_in(path, "processing") + ids_in(path, "completed") == ["a"])
        try:
            until(lambda: is_free(mine))
            until((tmp_path / "fds").exists)
            assert str(tmp_path / "lock") not in (tmp_path / "fds").read_text()
        finally:
            os.close(mine)
            queuectl("worker", "stop", "--now")


def is_free(lock):
    """Whether nobody else has the lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
