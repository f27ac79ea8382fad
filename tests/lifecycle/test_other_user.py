"""A supervisor that is not root: for it a machine can be full, and its own directory in /proc be shut for its children."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from queuectl import Spool, disk
from tests.support import ids_in, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

NOBODY = 65534

#: Becomes that user, who may read the Python that only root may, perhaps.
PREFIX = [
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
]

SCRIPT = """
import ctypes, sys
from queuectl import Spool, disk
from queuectl.log import Log
from queuectl.supervisor import Supervisor

PR_SET_DUMPABLE = 4
assert ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0) == 0
Supervisor(Spool(sys.argv[1]), 1, Log(2, "json")).run()
"""


@pytest.fixture
def spool():
    place = Path(tempfile.mkdtemp(prefix="queuectl-"))
    try:
        spool = Spool(place / "spool").make()
        for path in (place, *(place / "spool").rglob("*"), place / "spool"):
            os.chown(path, NOBODY, NOBODY)
        yield spool
    finally:
        shutil.rmtree(place)


@pytest.fixture
def worker(spool):
    """The process id of a worker, and the log."""
    log = Path(spool.path).parent / "log"
    with log.open("wb") as file:
        supervisor = subprocess.Popen(
            [*PREFIX, sys.executable, "-c", SCRIPT, spool.path], stderr=file, cwd="/"
        )
    try:
        [record] = until(lambda: list(Path(spool.path, "workers").glob("*.json")))
        yield int(json.loads(until(record.read_text))["pid"]), log
    finally:
        supervisor.terminate()
        supervisor.wait(30)


def drop(spool, command, owner=NOBODY):
    """A job of that user's, or of another's that all may read."""
    path = Path(spool.path).parent / "job"
    path.write_text(json.dumps({"command": command, "id": "a"}))
    path.chmod(0o644)
    os.chown(path, owner, owner)
    path.rename(Path(spool.path, "pending", "a.json"))


def test_a_drop_of_root_that_cannot_have_its_id_is_rejected_with_a_reason(spool, worker):
    drop(spool, "true", owner=0)

    if Path("/proc/sys/fs/protected_hardlinks").read_text() == "0\n":
        until(lambda: ids_in(Path(spool.path), "completed") == ["a"])
    else:
        [reason] = until(lambda: list(Path(spool.path, "rejected").glob("*.reason")))
        assert "belongs to another user" in until(reason.read_text)


def allow(pid, processes):
    """Let the user of that process have so many processes if it asks for one more."""
    subprocess.run([*PREFIX, "prlimit", f"--nproc={processes}:", f"--pid={pid}"], check=True)


def test_what_its_commands_print_is_kept(spool, worker):
    drop(spool, "echo said; echo warned >&2")

    until(lambda: ids_in(Path(spool.path), "completed") == ["a"])
    logs = Path(spool.path, "logs")
    assert [(logs / f"a.1.{stream}").read_text() for stream in ("out", "err")] == [
        "said\n",
        "warned\n",
    ]


def test_a_machine_without_room_for_a_process_costs_a_job_no_attempt(spool, worker):
    pid, log = worker
    allow(pid, "0")
    drop(spool, "true")

    until(lambda: "cannot start jobs: Resource temporarily unavailable" in log.read_text())
    allow(pid, "1000")

    until(lambda: ids_in(Path(spool.path), "completed") == ["a"])
    assert [
        word
        for word in ("stuck", "unstuck")
        for line in log.read_text().splitlines()
        if f'"{word}"' in line
    ] == ["stuck", "unstuck"]
    assert [run.attempt for run in spool.runs("a")] == [1]


def as_nobody(spool, *words, **env):
    return subprocess.run(
        [*PREFIX, sys.executable, "-m", "queuectl", "--spool", spool.path, *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )


def of_others(spool):
    return [path for path in Path(spool.path).rglob("*") if path.lstat().st_uid != NOBODY]


def test_what_root_makes_in_the_spool_of_a_user_is_theirs(spool, queuectl):
    at = ["--spool", spool.path]
    queuectl(*at, "enqueue", "--id", "a", "-c", "echo $((40 + 2))")
    queuectl(*at, "config", "set", "events", "on")
    queuectl(*at, "schedule", "add", "hourly", "--every", "1h", "-c", "true")
    queuectl(*at, "enqueue", "--id", "b", "--hold", "-c", "true")

    drained = as_nobody(spool, "worker", "start", "--drain")

    assert drained.returncode == 0, drained.stderr
    assert as_nobody(spool, "logs", "a").stdout == "42\n"
    assert as_nobody(spool, "config", "set", "events", "off").returncode == 0
    assert as_nobody(spool, "schedule", "remove", "hourly").returncode == 0
    assert of_others(spool) == []


def environment_of(spool, queuectl, *words):
    """What a job of root's, in the spool of a user, gets from root."""
    id = queuectl(
        "--spool", spool.path, *words, "-c", "true", cwd="/", HOME="/root", USER="root", LANG="C"
    )
    return queuectl.json("--spool", spool.path, "show", id.split()[-1], "--show-env")["env"]


def test_root_gives_its_home_to_no_job_of_a_user(spool, queuectl):
    env = environment_of(spool, queuectl, "enqueue")
    assert env["LANG"] == "C"
    assert "HOME" not in env
    env = environment_of(spool, queuectl, "enqueue", "--export", "ALL")
    assert env["LANG"] == "C"
    assert not {"HOME", "USER"} & {*env}
    assert environment_of(spool, queuectl, "enqueue", "--export", "HOME") == {"HOME": "/root"}

    home = spool.at("home")
    queuectl("--spool", spool.path, "enqueue", "--id", "a", "-c", "echo $HOME", cwd="/")
    assert as_nobody(spool, "worker", "start", "--drain", HOME=home).returncode == 0
    assert as_nobody(spool, "logs", "a").stdout == f"{home}\n"


def test_a_schedule_of_root_for_a_user_has_no_home_of_root(spool, queuectl):
    at = ["--spool", spool.path]
    queuectl(*at, "schedule", "add", "a", "--every", "1h", "-c", "true", cwd="/", HOME="/root")

    env = queuectl.json(*at, "schedule", "show", "a")["job"]["env"]
    assert "PATH" in env
    assert "HOME" not in env


def test_root_sends_no_job_into_a_directory_that_its_user_cannot_enter(spool, queuectl, tmp_path):
    at, private = ["--spool", spool.path], tmp_path / "private"
    (private / "sub").mkdir(parents=True)
    private.chmod(0o700)

    said = queuectl.refusal(*at, "enqueue", "-c", "true", code=2, cwd=private / "sub")

    assert f"the job would run in {private}/sub, which the spool's owner, user nobody" in said
    assert "or give --cwd" in said
    queuectl(*at, "enqueue", '{"command": "true", "cwd": "/"}', cwd=private / "sub")
    queuectl(*at, "enqueue", "--cwd", str(private), "-c", "true", cwd=private / "sub")


def test_what_root_runs_for_a_user_is_theirs_to_look_at(spool, queuectl):
    queuectl("--spool", spool.path, "enqueue", "--id", "a", "-c", "echo $((40 + 2))")

    queuectl("--spool", spool.path, "worker", "start", "--drain", "--allow-root")

    assert as_nobody(spool, "logs", "a").stdout == "42\n"
    assert Path(spool.path, "results", "a.jsonl").exists()
    assert of_others(spool) == []


def test_root_gives_nothing_away_that_was_there_before(spool):
    secret = Path(spool.path).parent / "secret"
    secret.write_text("root's\n")
    os.link(secret, Path(spool.path, "results", "a.jsonl"))
    disk._holder.cache_clear()  # whose the directory is was known before it was given away

    disk.append(spool.at("results", "a.jsonl"), b"{}")

    assert (secret.read_text(), secret.stat().st_uid) == ("root's\n{}", 0)


def test_the_doctor_tells_of_a_directory_that_we_cannot_change(spool):
    os.chmod(spool.at("pending"), 0o500)

    said = as_nobody(spool, "doctor")

    assert said.returncode == 1
    assert f"user {NOBODY} cannot change what is in {spool.at('pending')}" in said.stdout
