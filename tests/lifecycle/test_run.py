"""queuectl run, and what logs shows of a job."""

import signal
import subprocess
import sys

import pytest

from tests.support import Workers, environment, ids_in


def start(path, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "queuectl", "run", *words],
        env=environment(path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -TERM $$", 143), ("true", 0)])
def test_run_prints_what_the_job_prints_and_ends_with_its_code(queuectl, path, command, code):
    queuectl("init")
    with Workers(path):
        done = queuectl.run("run", "--max-retries", "1", "-c", f"echo out; echo err >&2; {command}")

    assert (done.returncode, done.stdout) == (code, "out\n")
    assert done.stderr.startswith("queuectl: job ")
    *_, last = (line for line in done.stderr.splitlines() if not line.startswith("queuectl: "))
    assert last == "err"
    assert (" is dead: " in done.stderr) == (code != 0)


def test_run_shows_the_output_while_the_job_runs(queuectl, path, tmp_path):
    queuectl("init")
    with Workers(path):
        process = start(
            path, "-c", f"echo begun; until test -e {tmp_path}/go; do sleep 0.02; done; echo over"
        )
        assert process.stdout.readline() == "begun\n"
        (tmp_path / "go").touch()
        out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == ("over\n", 0)


def test_run_goes_on_through_the_retries(queuectl, path, tmp_path):
    queuectl("config", "set", "backoff_max", "0")
    with Workers(path):
        done = queuectl.run(
            "run",
            "-c",
            f"echo try $QUEUECTL_ATTEMPT; test -e {tmp_path}/x || {{ touch {tmp_path}/x; exit 1; }}",
        )

    assert (done.returncode, done.stdout) == (0, "try 1\ntry 2\n")


def test_an_interrupt_cancels_the_job_that_runs_and_shows_its_last_words_once(queuectl, path):
    queuectl("init")
    with Workers(path):
        process = start(
            path, "-c", "trap 'echo bye; exit' TERM; echo begun; while :; do sleep 0.02; done"
        )
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("bye\n", 130)
    assert "cancelling job" in err
    assert len(ids_in(path, "dead")) == 1


def test_an_interrupt_cancels_a_job_that_waits_and_a_note_says_why_it_does(queuectl, path):
    queuectl("init")
    process = start(path, "-c", "true")
    assert process.stderr.readline().startswith("queuectl: job ")
    assert "no worker is alive" in process.stderr.readline()
    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 130
    process.communicate()
    assert len(ids_in(path, "dead")) == 1


def test_a_note_says_that_the_spool_is_paused(queuectl, path):
    queuectl("init")
    queuectl("pause")
    process = start(path, "--", "true")
    process.stderr.readline()
    assert "paused" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_a_run_that_is_ended_otherwise_leaves_its_job_in_the_queue(queuectl, path):
    queuectl("init")
    process = start(path, "--id", "a", "--", "true")
    process.stderr.readline()
    process.terminate()
    process.communicate(timeout=30)

    assert ids_in(path, "pending") == ["a"]


def test_run_takes_a_program_json_and_the_flags_of_enqueue(queuectl, path):
    queuectl("init")
    with Workers(path):
        assert queuectl.run("run", "--env", "A=1", "--", "sh", "-c", "echo $A").stdout == "1\n"
        assert queuectl.run("run", '{"command": "cat", "stdin": "text"}').stdout == "text"
    assert "what shall run?" in queuectl.refusal("run", code=2)
    assert "what shall run?" in queuectl.refusal("run", "-c", "true", "--", "true", code=2)


# -- logs


@pytest.fixture
def tried(queuectl, path, tmp_path):
    """A job that failed once and then completed; both attempts printed to both streams, the last line unfinished."""
    queuectl("config", "set", "backoff_max", "0")
    command = f"echo out$QUEUECTL_ATTEMPT; printf err$QUEUECTL_ATTEMPT >&2; test -e {tmp_path}/x || {{ touch {tmp_path}/x; exit 1; }}"
    queuectl("enqueue", "--id", "a", "-c", command)
    queuectl("worker", "start", "--drain")


def test_logs_shows_one_stream_or_all_attempts(queuectl, tried):
    assert queuectl.run("logs", "a").stdout == "out2\n"
    assert queuectl.run("logs", "a").stderr == "err2"
    assert queuectl("logs", "last", "--stdout") == "out2\n"
    assert queuectl("logs", "a", "--stderr", "--attempt", "1") == "err1"
    assert queuectl("logs", "a", "--all") == (
        "==> attempt 1, stdout <==\nout1\n==> attempt 1, stderr <==\nerr1\n==> attempt 2, stdout <==\nout2\n==> attempt 2, stderr <==\nerr2\n"
    )
    assert queuectl("logs", "a", "--all", "--stderr").count("==>") == 2
    assert queuectl("logs", "a", "--follow", "--stderr") == "err2"


def test_logs_as_json(queuectl, tried):
    assert queuectl.json("logs", "a") == {
        "id": "a",
        "attempt": 2,
        "stdout": "out2\n",
        "stderr": "err2",
    }
    assert queuectl.json("logs", "a", "--stderr", "--attempt", "1") == {
        "id": "a",
        "attempt": 1,
        "stderr": "err1",
    }
    assert [record["stdout"] for record in queuectl.json("logs", "a", "--all")] == [
        "out1\n",
        "out2\n",
    ]


@pytest.mark.parametrize(
    "words", [["--follow", "--json"], ["--follow", "--all"], ["--all", "--attempt", "1"]]
)
def test_logs_refuses_what_does_not_go_together(queuectl, tried, words):
    assert "use it without" in queuectl.refusal("logs", "a", *words, code=2)
