"""Running: what the command sees, how it ends, what is recorded."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

from queuectl.host import is_running
from tests.support import Workers, environment, ids_in, until


@pytest.fixture
def run(queuectl):
    """Run one job to its end; what `show` says then."""

    def run(**fields):
        queuectl("enqueue", "-", input=json.dumps({"id": "a", "max_retries": 1, **fields}))
        queuectl("worker", "start", "--drain", "--set", "shutdown_grace=0.3")
        record = queuectl.json("show", "a")
        return record, record["runs"][-1]

    return run


def test_a_run_is_recorded_with_everything(run, path):
    record, last = run(command="echo out; echo err >&2; exit 7", name="seven", meta={"k": [1]})

    assert (record["state"], record["name"], record["meta"], record["attempts"]) == (
        "dead",
        "seven",
        {"k": [1]},
        1,
    )
    assert (last["outcome"], last["exit_code"], last["signal"], last["reason"]) == (
        "failed",
        7,
        None,
        "exit code 7",
    )
    assert (last["stdout_tail"], last["stderr_tail"]) == ("out\n", "err\n")
    assert last["to"] == record["file"]
    assert last["claim"].startswith("processing/")
    assert last["cpu_seconds"] >= 0
    assert 0 < last["duration"] < 60
    assert last["started_at"] < last["finished_at"]
    assert set(last) == {
        "attempt", "claim", "to", "worker", "host", "started_at", "finished_at", "duration", "outcome", "reason", "exit_code", "signal",
        "cpu_seconds", "max_rss_kb", "stdout_tail", "stderr_tail", "superseded",
    }  # fmt: skip
    assert (path / "logs" / "a.1.out").read_text() == "out\n"
    assert (path / "logs" / "a.1.err").read_text() == "err\n"


def test_empty_logs_are_removed(run, path):
    run(command="true")

    assert os.listdir(path / "logs") == []


def test_the_command_sees_who_it_is(run, path):
    _, last = run(
        command="echo $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT $QUEUECTL_WORKER $QUEUECTL_SPOOL"
    )

    assert last["stdout_tail"] == f"a 1 {last['worker']} {path}\n"


def test_a_list_runs_without_a_shell(run):
    _, last = run(command=["printf", "%s|", "a b", "$HOME", "*"])

    assert last["stdout_tail"] == "a b|$HOME|*|"


def test_cwd_env_and_stdin_reach_the_command(run, tmp_path):
    _, last = run(
        command="pwd; echo $COLOUR; cat",
        cwd=str(tmp_path),
        env={"COLOUR": "blue"},
        stdin="from stdin" * 10000,
    )

    assert last["stdout_tail"].endswith("from stdin")
    assert (
        tmp_path / "spool" / "logs" / "a.1.out"
    ).read_text() == f"{tmp_path}\nblue\n" + "from stdin" * 10000


def test_without_stdin_the_command_reads_nothing(run):
    _, last = run(command="cat; echo end")

    assert last["stdout_tail"] == "end\n"


def test_the_program_is_looked_for_on_the_path_of_the_job(run, tmp_path):
    program = tmp_path / "hello-from-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)

    _, last = run(command=["hello-from-here"], env={"PATH": f"{tmp_path}:/bin:/usr/bin"})

    assert last["stdout_tail"] == "found\n"


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        (["no-such-program-here"], 127, "no program 'no-such-program-here' on the PATH of the job"),
        (["/no/such/program"], 127, "cannot start /no/such/program: there is no such program"),
        (["/etc/passwd/x"], 127, "cannot start /etc/passwd/x: a part of its path is not a dir"),
        (["/etc/passwd"], 126, "cannot start /etc/passwd: it is not executable; use chmod +x"),
        (["/"], 126, "cannot start /: it is a directory; correct the path"),
        (["/" + "x" * 300], 126, f"cannot start /{'x' * 300}: its name is too long"),
        (["true", *["x" * 100_000] * 30], 126, "cannot start /usr/bin/true: its arguments and env"),
    ],
    ids=["not on PATH", "missing", "below a file", "no program", "directory", "long", "too much"],
)
def test_a_program_that_can_never_start_is_dead_at_once_with_a_reason_and_the_cure(
    queuectl, path, command, code, reason
):
    queuectl("config", "set", "max_job_size", "4000000")
    job = {"id": "a", "command": command, "env": {"PATH": "/usr/bin:/bin"}}
    queuectl("enqueue", "-", input=json.dumps(job))

    queuectl("worker", "start", "--drain")

    [last] = queuectl.json("show", "a")["runs"]
    assert (last["outcome"], last["exit_code"]) == ("failed", code)
    assert last["reason"].startswith(reason)
    assert ids_in(path, "dead") == ["a"]
    queuectl("wait", "a", code=code)


def test_a_shell_that_finds_no_program_fails_as_any_command(run):
    _, last = run(command="no-such-program-here")

    assert (last["exit_code"], last["reason"]) == (127, "exit code 127")


def test_a_rule_for_its_exit_code_lets_a_program_that_is_missing_be_tried_again(queuectl, path):
    words = ["--retry-after-codes", "127=1h"]
    queuectl("enqueue", "--id", "a", *words, "--", "no-such-program-here")

    with Workers(path):
        until(lambda: ids_in(path, "failed") == ["a"])


def test_a_missing_directory_is_a_failure_with_a_reason(run):
    _, last = run(command="true", cwd="/no/such/place")

    assert (last["outcome"], last["reason"]) == (
        "failed",
        "cannot enter the directory /no/such/place: No such file or directory",
    )


def test_a_command_that_a_signal_ended_says_which(run, queuectl):
    _, last = run(command="kill -9 $$")

    assert (last["signal"], last["exit_code"], last["reason"]) == (
        9,
        None,
        "ended by signal 9 (SIGKILL)",
    )
    queuectl("wait", "a", code=137)


def test_a_timeout_ends_the_command_and_its_children(run, queuectl, tmp_path):
    _, last = run(
        command=f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/child; while :; do sleep 0.05; done' & wait; wait",
        timeout=0.5,
    )

    assert last["outcome"] == "timeout"
    assert "timeout" in last["reason"]
    child = int((tmp_path / "child").read_text())
    until(lambda: not is_running(child))
    queuectl("wait", "a", code=124)


def test_a_command_that_ends_at_term_is_not_killed(run):
    _, last = run(
        command="trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done", timeout=0.5
    )

    assert (last["outcome"], last["stdout_tail"], last["signal"]) == ("timeout", "up\nbye\n", None)


def test_a_timeout_of_the_settings_counts_for_jobs_that_name_none(queuectl):
    queuectl("config", "set", "timeout", "300ms")
    queuectl("enqueue", "--id", "a", "--max-retries", "1", "-c", "sleep 600")

    queuectl("worker", "start", "--drain")

    assert queuectl.json("show", "a")["runs"][0]["outcome"] == "timeout"


def test_the_tail_of_the_output_is_bounded_and_the_log_is_whole(queuectl, path):
    queuectl("config", "set", "output_tail", "10")
    queuectl("enqueue", "--id", "a", "-c", "seq 1 10000; printf '\\377\\376'")

    queuectl("worker", "start", "--drain")

    assert queuectl.json("show", "a")["runs"][0]["stdout_tail"] == "9\n10000\n" + "\ufffd\ufffd"
    assert (path / "logs" / "a.1.out").stat().st_size == 48896


def test_the_peak_memory_of_a_large_command_is_known(run):
    _, last = run(command=[sys.executable, "-c", "x = b'x' * 300_000_000"])

    assert last["max_rss_kb"] > 290_000


REOPENED = {
    "stdout": ("echo one; echo two > /dev/stdout; echo three", "one\ntwo\nthree\n", ""),
    "twice": ("echo one; for i in 2 3 4; do echo $i > /dev/stdout; done", "one\n2\n3\n4\n", ""),
    "by number": ("echo one; echo two > /proc/self/fd/1; echo three", "one\ntwo\nthree\n", ""),
    "stderr": ("echo one >&2; echo x | tee /dev/stderr; echo two >&2", "x\n", "one\nx\ntwo\n"),
    "by a child": (
        "echo one; sh -c 'exec > /dev/stdout; echo two'; echo three",
        "one\ntwo\nthree\n",
        "",
    ),
}


@pytest.mark.parametrize("how", REOPENED)
def test_a_command_that_opens_its_output_again_loses_nothing(run, queuectl, path, how):
    command, out, err = REOPENED[how]
    _, last = run(command=command)

    assert (last["stdout_tail"], last["stderr_tail"]) == (out, err)
    assert queuectl("logs", "a", "--stdout") == out
    assert queuectl("logs", "a", "--stderr") == err


def test_logs_follow_a_command_that_opens_its_output_again(queuectl, path, tmp_path):
    waits = f"until test -e {tmp_path}/go; do sleep 0.02; done"
    queuectl("enqueue", "--id", "a", "-c", f"echo one; {waits}; echo two > /dev/stdout; echo three")
    log = path / "logs" / "a.1.out"
    with Workers(path):
        until(log.exists)
        with subprocess.Popen(
            [sys.executable, "-m", "queuectl", "logs", "a", "--follow"],
            stdout=subprocess.PIPE,
            env=environment(path),
        ) as follower:
            assert follower.stdout.readline() == b"one\n"
            (tmp_path / "go").touch()
            assert follower.stdout.read() == b"two\nthree\n"


def test_output_is_in_the_log_while_its_command_waits(queuectl, path, tmp_path):
    """Also when it comes again after a long silence."""
    queuectl("enqueue", "--id", "a", "-c", f"cat {tmp_path}/fifo")
    os.mkfifo(tmp_path / "fifo")
    log = path / "logs" / "a.1.out"
    with Workers(path), open(tmp_path / "fifo", "w") as fifo:
        for line in ("one\n", "two\n", "three\n"):
            fifo.write(line)
            fifo.flush()
            until(lambda line=line: log.exists() and log.read_text().endswith(line))


def test_output_of_many_kinds_and_sizes_arrives_whole(queuectl, path):
    sizes = [1, 4096, 65536, 65537, 1_000_000]
    for size in sizes:
        queuectl("enqueue", "--id", f"n{size}", "-c", f"head -c {size} /dev/zero")
    queuectl("enqueue", "--id", "lines", "-c", "seq 100000")

    queuectl("worker", "start", "--drain", "--count", "2")

    assert [(path / "logs" / f"n{size}.1.out").stat().st_size for size in sizes] == sizes
    expected = "".join(f"{number}\n" for number in range(1, 100001))
    assert (path / "logs" / "lines.1.out").read_text() == expected


def test_stdin_needs_no_temporary_directory(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/no/such/place")
    text = "x" * 500_000
    _, last = run(command="wc -c", stdin=text)

    assert last["stdout_tail"].strip() == "500000"


def test_a_timeout_ends_what_has_neither_session_nor_environment_of_the_command(queuectl, tmp_path):
    """A child that left its group, and an orphan of an orphan."""
    script = tmp_path / "escape"
    script.write_text(
        f"env -i setsid sh -c 'echo $$ > {tmp_path}/one; exec sleep 600' &\n"
        f"(env -i setsid sh -c 'sleep 600 & echo $! > {tmp_path}/two' &)\n"
        f"until test -s {tmp_path}/one && test -s {tmp_path}/two; do sleep 0.02; done\n"
        f"touch {tmp_path}/up; sleep 600\n"
    )
    queuectl(
        "enqueue", "--id", "a", "--max-retries", "1", "--timeout", "5", "--", "sh", str(script)
    )

    queuectl("worker", "start", "--drain", "--set", "shutdown_grace=0.3")

    assert (tmp_path / "up").exists()
    for name in ("one", "two"):
        assert not is_running(int((tmp_path / name).read_text()))


def test_a_timeout_leaves_alone_what_an_earlier_job_left_behind(queuectl, path, tmp_path):
    left = f"setsid sh -c 'echo $$ > {tmp_path}/left; exec sleep 600' > /dev/null 2>&1 &"
    queuectl("enqueue", "--id", "a", "-c", f"{left} until test -s {tmp_path}/left; do :; done")
    queuectl("enqueue", "--id", "b", "--max-retries", "1", "--timeout", "0.1", "-c", "sleep 600")

    queuectl("worker", "start", "--drain", "--set", "shutdown_grace=0.3")

    pid = int((tmp_path / "left").read_text())
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)
    assert ids_in(path, "dead") == ["b"]


def test_a_background_child_does_not_hold_up_its_job(run, tmp_path):
    _, last = run(command=f"sleep 600 & echo $! > {tmp_path}/pid")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    assert last["outcome"] == "completed"
    assert last["duration"] < 60


def test_the_command_has_default_signals_and_its_own_process_group(run):
    code = "import os, signal; print([s for s in (13, 2, 1, 15, 3, 10) if signal.getsignal(s) is signal.SIG_IGN], os.getpgrp() == os.getpid(), signal.pthread_sigmask(0, []))"
    _, last = run(command=f"exec {sys.executable} -c '{code}'")

    assert last["stdout_tail"] == "[13] True set()\n"  # Python itself ignores SIGPIPE


def test_the_command_has_no_terminal_although_its_supervisor_has(queuectl, path):
    queuectl(
        "enqueue",
        "--id",
        "a",
        "-c",
        "(: < /dev/tty) 2> /dev/null && echo yes || echo none; ps -o tpgid= -p $$",
    )
    master, slave = pty.openpty()
    with os.fdopen(slave) as terminal:
        words = [sys.executable, "-m", "queuectl", "worker", "start", "--drain"]
        subprocess.run(
            words,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment(path),
            timeout=50,
            check=True,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
    os.close(master)
    assert (path / "logs" / "a.1.out").read_text().split() == ["none", "-1"]


def test_no_descriptor_of_ours_reaches_the_command(run):
    _, last = run(command=["ls", "/proc/self/fd"])

    assert last["stdout_tail"].split() == ["0", "1", "2", "3"]  # 3 is that of ls


def test_logs_follow_a_running_job_to_its_end(queuectl, path, tmp_path):
    queuectl(
        "enqueue",
        "--id",
        "a",
        "-c",
        f"echo first; until test -e {tmp_path}/go; do sleep 0.01; done; echo last",
    )
    with Workers(path):
        follow = subprocess.Popen(
            [sys.executable, "-m", "queuectl", "logs", "a", "-f"],
            stdout=subprocess.PIPE,
            env=environment(path),
        )
        assert follow.stdout.readline() == b"first\n"
        (tmp_path / "go").touch()
        assert follow.communicate(timeout=30)[0] == b"last\n"
        assert follow.returncode == 0


def test_logs_follow_from_the_last_lines_on(queuectl, path, tmp_path):
    queuectl(
        "enqueue",
        "--id",
        "a",
        "-c",
        f"seq 5; until test -e {tmp_path}/go; do sleep 0.01; done; seq 6 8",
    )
    log = path / "logs" / "a.1.out"
    with Workers(path):
        until(
            lambda: log.exists() and log.read_text() == "1\n2\n3\n4\n5\n"
        )  # a log gets its name when its job lasts
        words = [sys.executable, "-m", "queuectl", "logs", "a", "-f", "-n", "2"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment(path)) as follow:
            assert [follow.stdout.readline(), follow.stdout.readline()] == [b"4\n", b"5\n"]
            (tmp_path / "go").touch()
            assert follow.communicate(timeout=30)[0] == b"6\n7\n8\n"


@pytest.mark.parametrize("end", ["", "\n"])
def test_logs_of_the_last_lines_begin_where_these_do(run, queuectl, path, end):
    run(command="true")
    said = ["x" * 70_000, "y" * 140_000, "z"]  # longer than what is looked through at a time
    (path / "logs" / "a.1.out").write_text("\n".join(said) + end)
    (path / "logs" / "a.1.err").write_text("?")

    for lines in (0, 1, 2, 3, 9):
        found = queuectl.json("logs", "a", "-n", str(lines))
        assert found["stdout"] == ("\n".join(said[-lines:]) + end if lines else "")
        assert found["stderr"] == ("?" if lines else "")
    assert (
        queuectl("logs", "a", "--all", "-n", "1")
        == "==> attempt 1, stdout <==\nz\n==> attempt 1, stderr <==\n?\n"
    )


def test_logs_of_an_earlier_attempt_are_kept(queuectl):
    queuectl(
        "enqueue", "--id", "a", "--max-retries", "2", "-c", "echo attempt $QUEUECTL_ATTEMPT; exit 1"
    )

    queuectl("worker", "start", "--drain", "--set", "backoff_max=0")

    assert queuectl("logs", "a", "--attempt", "1") == "attempt 1\n"
    assert queuectl("logs", "a") == "attempt 2\n"
    assert queuectl.json("logs", "a") == {
        "id": "a",
        "attempt": 2,
        "stdout": "attempt 2\n",
        "stderr": "",
    }
    assert "no attempt 3" in queuectl.refusal("logs", "a", "--attempt", "3", code=1)


def test_a_job_enqueued_from_the_command_line_runs_where_it_was_enqueued(queuectl, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    queuectl(
        "enqueue",
        "--id",
        "a",
        "-c",
        "pwd; echo $VIRTUAL_ENV $SECRET",
        cwd=here,
        VIRTUAL_ENV="/venv",
        SECRET="x",
    )
    queuectl("worker", "start", "--drain", VIRTUAL_ENV="/other", SECRET="y")

    assert queuectl("logs", "a") == f"{here}\n/venv y\n"


def test_strict_durability_works_the_same(queuectl, path):
    queuectl("config", "set", "durability", "strict")
    queuectl("enqueue", "--id", "a", "-c", "true")

    queuectl("worker", "start", "--drain")

    assert ids_in(path, "completed") == ["a"]


def test_what_a_job_left_behind_writes_into_no_log_of_a_later_one(queuectl, path, tmp_path):
    queuectl(
        "enqueue",
        "--id",
        "a",
        "-c",
        f"(until test -e {tmp_path}/go; do sleep 0.02; done; echo late; touch {tmp_path}/said) &",
    )
    with Workers(path):
        until(lambda: ids_in(path, "completed") == ["a"])
        queuectl(
            "enqueue",
            "--id",
            "b",
            "-c",
            f"touch {tmp_path}/go; until test -e {tmp_path}/said; do sleep 0.02; done; echo mine",
        )
        until(lambda: ids_in(path, "completed") == ["a", "b"])
    assert queuectl("logs", "b") == "mine\n"


def test_a_quick_command_that_prints_more_than_allowed_fails_too(queuectl):
    queuectl("config", "set", "max_output", "1000")
    queuectl("enqueue", "--id", "a", "--max-retries", "1", "-c", "head -c 5000 /dev/zero")
    queuectl("enqueue", "--id", "b", "--max-retries", "1", "-c", "head -c 1000 /dev/zero")

    queuectl("worker", "start", "--drain")

    [run] = queuectl.json("show", "a")["runs"]
    assert run["outcome"] == "failed"
    assert run["reason"].startswith("printed more than max_output allows")
    assert queuectl.run(
        "wait", "a"
    ).returncode  # 1; or 143, where the machine was so busy that we have ended it
    queuectl("wait", "b")
