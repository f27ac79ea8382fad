"""The command line itself: typos, streams that are closed or know few letters, and what is said when nothing can be shown."""

import json
import os
import subprocess
import sys

import pytest

from tests.support import Workers, environment, ids_in
from tests.terminal import Terminal


@pytest.mark.parametrize(
    "words",
    [
        ["enqueue", "-"],
        ["enqueue", "--each-line", "-", "-c", "echo {}"],
        ["enqueue", "--stdin", "-", "-c", "cat"],
        ["top"],
    ],
)
def test_a_stdin_that_is_closed_is_empty(queuectl, path, words):
    queuectl("init")
    line = [sys.executable, "-m", "queuectl", "--spool", str(path), *words]
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" <&-', "sh", *line],
        capture_output=True,
        text=True,
        env=environment(path),
        check=False,
    )

    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if words == ["top"] else 0)


def test_letters_that_the_terminal_has_not_are_written_out(queuectl):
    queuectl("enqueue", "--id", "a", "-c", "echo 日本é")

    assert "\\u65e5\\u672c" in queuectl("list", PYTHONIOENCODING="latin-1")
    [record] = json.loads(queuectl("list", "--json", PYTHONIOENCODING="latin-1"))
    assert record["command"] == "echo 日本é"


def test_a_result_that_cannot_be_printed_is_told_from_one_that_is_not_there(queuectl, path):
    line = [
        sys.executable,
        "-m",
        "queuectl",
        "--spool",
        str(path),
        "enqueue",
        "--id",
        "a",
        "-c",
        "true",
    ]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            line, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(path), check=False
        )

    assert done.returncode == 1
    assert (
        done.stderr
        == "queuectl: cannot print: No space left on device; what was asked for is done, see 'queuectl list'\n"
    )
    assert ids_in(path, "pending") == ["a"]


def test_a_path_of_too_many_parts_is_refused_in_a_line(queuectl):
    assert "File name too long" in queuectl.refusal("--spool", "d/" * 1500, "init", code=1)


def test_a_typo_in_a_command_gets_a_hint(queuectl):
    assert "'enqueue'" in queuectl.run("enqeue").stderr
    assert "--spool comes before the command" in queuectl.refusal("status", "--spool", "x", code=2)


def test_a_file_of_jobs_is_not_taken_for_a_program(queuectl, tmp_path):
    (tmp_path / "jobs.jsonl").write_text('{"command": "true"}\n')

    (tmp_path / "true").touch()

    assert (
        f"--file {tmp_path}/jobs.jsonl"
        in queuectl.run("enqueue", str(tmp_path / "jobs.jsonl")).stderr
    )
    queuectl("enqueue", "true", cwd=tmp_path)


def test_a_directory_that_is_gone_is_named_as_what_is_wrong(path, tmp_path):
    (tmp_path / "gone").mkdir()
    script = f'cd {tmp_path}/gone && rmdir {tmp_path}/gone && exec "$@"'
    line = [
        sys.executable,
        "-m",
        "queuectl",
        "--spool",
        str(tmp_path / "spool"),
        "enqueue",
        "-c",
        "pwd",
    ]
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *line],
        capture_output=True,
        text=True,
        env=environment(path),
        check=False,
    )

    assert done.returncode == 2
    assert "the directory that you are in is gone" in done.stderr


def test_a_list_that_is_cut_says_so(queuectl):
    for id in "abc":
        queuectl("enqueue", "--id", id, "-c", "true")
        queuectl("cancel", id)

    for words in (["list"], ["dlq", "list"]):
        cut = queuectl.run(*words, "--limit", "2", "--json")
        assert len(json.loads(cut.stdout)) == 2
        assert cut.stderr == "there are more than these 2; --limit 0 lists all\n"
        assert queuectl.run(*words, "--limit", "3").stderr == ""
        assert queuectl.run(*words, "--limit", "0").stderr == ""


def test_logs_that_are_not_there_are_explained(queuectl):
    queuectl("enqueue", "--id", "a", "--max-retries", "1", "--", "no-such-program")
    assert queuectl.run("logs", "a").stderr == "job a has not run yet\n"

    queuectl("worker", "start", "--drain")

    assert "no-such-program" in queuectl.run("logs", "a").stderr


def test_a_job_named_twice_is_one_job(queuectl):
    queuectl("enqueue", "--id", "a", "-c", "true")

    assert len(json.loads(queuectl("list", "a", "a", "--json"))) == 1
    assert queuectl("cancel", "a", "a") == "a cancelled\n"


def test_both_streams_may_be_asked_for(queuectl):
    queuectl("enqueue", "--id", "a", "-c", "echo out; echo err >&2")
    queuectl("worker", "start", "--drain")

    both = queuectl.run("logs", "a", "--stdout", "--stderr")
    assert (both.stdout, both.stderr) == ("out\n", "err\n")


def test_exit_codes_are_read_as_they_are_shown(queuectl):
    for name, value in (("success_codes", "[0, 99]"), ("retry_after_codes", '{"75": "10m"}')):
        assert queuectl("config", "set", name, value) == f"{name} = {value}\n"
        assert queuectl("config", "get", name) == f"{value}\n"
    queuectl(
        "enqueue",
        "--id",
        "a",
        "--success-codes",
        "[0, 3]",
        "--retry-after-codes",
        '{"75": 60}',
        "-c",
        "exit 3",
    )
    queuectl("config", "set", "success_codes", "[0, 3", code=2)


def test_whoever_follows_a_job_hears_of_attempts_that_failed(queuectl, path):
    queuectl("config", "set", "backoff_base", "1")
    with Workers(path):
        followed = queuectl.run(
            "run", "--id", "a", "--max-retries", "2", "-c", "echo once more; exit 3"
        )

    assert (followed.returncode, followed.stdout) == (3, "once more\n" * 2)
    assert "queuectl: attempt 1 of job a failed: exit code 3; the next one in " in followed.stderr
    assert followed.stderr.endswith("queuectl: job a is dead: exit code 3\n")


def test_a_drop_waits_for_a_worker_like_any_other_job(queuectl, path):
    queuectl("init")
    (path / "pending" / "x.json").write_text('{"command": "true"}')
    os.utime(path / "pending" / "x.json", (1e9, 1e9))

    [record] = queuectl.json("list")

    assert record["waits"] == "no worker is alive"
    assert record["run_at"].startswith("2001-09-09")


def test_lines_may_end_as_windows_ends_them(queuectl):
    queuectl("enqueue", "--each-line", "-", "--id", "x-{}", "-c", "echo {}", input="a\r\nb\r\n")

    assert [record["command"] for record in queuectl.json("list")] == ["echo 'a'", "echo 'b'"]


def test_a_delay_without_a_time_says_how_to_write_it(queuectl):
    said = queuectl.run("enqueue", "--retry-after-codes", "75", "-c", "true")

    assert (said.returncode, "write CODE=TIME" in said.stderr) == (2, True)


def test_a_narrow_terminal_cuts_commands_and_neither_ids_nor_states(queuectl, path):
    id = "a-rather-long-identifier"
    queuectl(
        "enqueue",
        "--id",
        id,
        "-c",
        "echo this command is much too long for a terminal that has eighty columns",
    )

    with Terminal(path, "list", columns=80, NO_COLOR="", TERM="xterm") as terminal:
        terminal.shows(f"{id}  pending")
        assert terminal.line(id).endswith("…")
        assert len([line for line in terminal.text.splitlines() if line]) == 2
