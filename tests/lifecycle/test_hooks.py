"""Hooks beside real workers: they hear of every end, and hold nobody up."""

import http.server
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from queuectl.host import is_running
from tests.support import Workers, ids_in, names, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "hooks" / "webhook.py"


@pytest.fixture
def put(queuectl, path, tmp_path):
    """Put a hook there; by default it appends the id of its job to a file, which is answered."""

    def put(name, text='echo "$QUEUECTL_JOB_ID" >> "$OUT"'):
        if not path.exists():
            queuectl("init")
        (path / "hooks").mkdir(mode=0o700, exist_ok=True)
        file, out = path / "hooks" / name, tmp_path / f"{name}.told"
        file.write_text(f"#!/bin/sh\nOUT={out}\n{text}\n")
        file.chmod(0o700)
        return out

    return put


def told(out):
    return sorted(out.read_text().split()) if out.exists() else []


def test_every_end_is_told_before_a_drained_supervisor_ends(queuectl, put):
    completed, failed, dead = put("completed"), put("failed"), put("dead")
    jobs = [{"id": f"j{n:02}", "command": "true"} for n in range(20)]
    jobs += [
        {"id": "bad", "command": "false", "max_retries": 1},
        {"id": "slow", "command": '[ "$QUEUECTL_ATTEMPT" = 2 ]', "max_retries": 3},
    ]
    queuectl("enqueue", "-", input="".join(json.dumps(job) + "\n" for job in jobs))

    queuectl("worker", "start", "--count", "2", "--drain", "--set", "backoff_max=1")

    assert told(completed) == [*(f"j{n:02}" for n in range(20)), "slow"]
    assert (told(failed), told(dead)) == (["slow"], ["bad"])


def test_the_hook_sees_whose_end_it_is_and_no_worker(queuectl, put, path):
    out = put("completed", 'env | grep ^QUEUECTL_ | grep -v RUN= | sort > "$OUT"; pwd >> "$OUT"')
    queuectl("enqueue", '{"id": "a", "command": "true", "batch": "b"}')

    queuectl("worker", "start", "--drain", QUEUECTL_WORKER="mine", NOTIFY_SOCKET="/no")

    assert out.read_text().splitlines() == [
        "QUEUECTL_ATTEMPT=1", "QUEUECTL_BATCH=b", "QUEUECTL_HOOK=completed", "QUEUECTL_JOB_ID=a", f"QUEUECTL_SPOOL={path}",
        "QUEUECTL_STATE=completed", f"{path}/hooks",
    ]  # fmt: skip


def test_hooks_that_hang_hold_up_no_job_and_no_hard_stop(queuectl, put, path, tmp_path):
    put("completed", f"echo >> {tmp_path}/began; sleep 600")
    with Workers(path, "--set", "heartbeat_interval=0.5") as workers:
        for n in range(5):
            queuectl("enqueue", "--id", f"j{n}", "-c", "true")
        until(lambda: len(ids_in(path, "completed")) == 5)
        until(lambda: (tmp_path / "began").exists() and len((tmp_path / "began").read_text()) == 2)
        assert len(names(path, "hooks/due")) == 3  # two at a time
        workers.process.send_signal(signal.SIGTERM)
        until(lambda: workers.events("stopping"))
        workers.process.send_signal(signal.SIGQUIT)
        workers.process.wait(20)
    # For the next one.
    assert len(names(path, "hooks/due")) == 5
    assert os.listdir(path / "hooks" / "running") == []


@pytest.fixture
def hanging(put, path, tmp_path):
    """A hook that hangs until told to go; what it then says, and a wait for the child that runs it."""
    out = put(
        "completed",
        f'[ -e {tmp_path}/go ] || {{ touch {tmp_path}/began; exec sleep 600; }}\necho "$QUEUECTL_JOB_ID" >> "$OUT"',
    )

    def child():
        until((tmp_path / "began").exists)
        [running] = (path / "hooks" / "running").iterdir()
        return int(running.name.rpartition("~")[2])

    return out, child


def test_notes_of_a_killed_supervisor_are_taken_up_by_another(queuectl, hanging, path, tmp_path):
    out, child = hanging
    with Workers(path) as first:
        queuectl("enqueue", "--id", "a", "-c", "true")
        pid = child()
        first.kill()  # not the child: it keeps no lock that would say that its supervisor lives
        (tmp_path / "go").touch()
        with Workers(path, "--set", "heartbeat_interval=0.5"):
            until(lambda: told(out) == ["a"])
            until(lambda: not is_running(pid))
    assert names(path, "hooks/due") == os.listdir(path / "hooks" / "running") == []


def test_a_child_that_somebody_kills_is_no_loss(queuectl, hanging, path, tmp_path):
    out, child = hanging
    with Workers(path):
        queuectl("enqueue", "--id", "a", "-c", "true")
        pid = child()
        (tmp_path / "go").touch()
        os.kill(pid, signal.SIGKILL)
        until(lambda: told(out) == ["a"])


def test_an_end_that_a_command_made_is_told_at_the_next_heartbeat(queuectl, put, path):
    out = put("dead")
    with Workers(path, "--set", "heartbeat_interval=0.5") as workers:
        workers.up()
        queuectl("enqueue", "--id", "a", "--delay", "1h", "-c", "true")
        queuectl("cancel", "a")
        until(lambda: told(out) == ["a"])


def test_a_hook_that_must_not_run_is_named_once_and_by_the_doctor(queuectl, put, path):
    out = put("completed")
    (path / "hooks" / "completed").chmod(0o777)
    with Workers(path, "--set", "heartbeat_interval=0.5") as workers:
        queuectl("enqueue", "--id", "a", "-c", "true")
        until(lambda: ids_in(path, "completed") == ["a"])
        [warning] = until(lambda: workers.events("warning"))
        assert "hook completed is not run" in warning["reason"]
        assert "can be written to by others (mode 777)" in warning["reason"]
        put("failed")
        (path / "hooks" / "failed").chmod(0o777)
        until(lambda: len(workers.events("warning")) == 2)
    assert not out.exists()
    findings = queuectl.json("doctor", code=1)["findings"]
    assert [finding["check"] for finding in findings] == ["hooks", "hooks"]
    queuectl("doctor", "--fix")
    assert queuectl.json("doctor")["healthy"]


def test_a_directory_of_hooks_that_others_can_write_keeps_workers_from_starting(
    queuectl, put, path
):
    put("completed")
    (path / "hooks").chmod(0o770)

    assert f"{path}/hooks can be written to by others" in queuectl.refusal(
        "worker", "start", "--drain", code=1
    )


# -- the example


@pytest.fixture
def server():
    """A web server that keeps what was posted to it, and answers 503 to the first."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(503 if len(posted) == 1 else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    posted = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/jobs", posted
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_example_posts_to_a_web_server_and_tries_again(queuectl, put, path, server):
    url, posted = server
    put("dead")
    shutil.copy(EXAMPLE, path / "hooks" / "dead")
    (path / "hooks" / "dead").chmod(0o700)
    (path / "hooks" / "webhook.url").write_text(url + "\n")
    queuectl(
        "enqueue",
        "--id",
        "a",
        "--name",
        "backup",
        "--max-retries",
        "1",
        "-c",
        "echo secret; exit 3",
    )

    queuectl("worker", "start", "--drain", no_proxy="*")

    assert len(posted) == 2
    where, kind, message = posted[1]
    assert (where, kind) == ("/jobs", "application/json")
    assert (
        message["hook"],
        message["id"],
        message["name"],
        message["state"],
        message["reason"],
    ) == (
        "dead",
        "a",
        "backup",
        "dead",
        "exit code 3",
    )
    assert "secret" not in json.dumps(message)


def test_the_example_fails_when_there_is_no_server(queuectl, put, path):
    put("dead")
    text = EXAMPLE.read_text().replace(
        "PATIENCE, PAUSE, TRIES = 10, 2, 3", "PATIENCE, PAUSE, TRIES = 10, 0, 2"
    )
    (path / "hooks" / "dead").write_text(text)
    (path / "hooks" / "webhook.url").write_text("http://127.0.0.1:9/\n")
    queuectl("enqueue", "--id", "a", "--max-retries", "1", "-c", "false")

    done = queuectl.run("worker", "start", "--drain", "--log-format", "json")

    [event] = [
        event
        for line in done.stderr.splitlines()
        if (event := json.loads(line))["event"] == "hook_failed"
    ]
    assert (event["job"], event["reason"]) == ("a", "exit code 1")
    assert event["output"].count("refused") == 2
