"""Looking and doing: status, list, show, wait, dlq, config, and what they print."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from queuectl import Spool
from tests.support import Workers, environment, ids_in, names, until


@pytest.fixture
def dead(queuectl):
    """A spool with the job `a` dead and the job `b` completed."""
    queuectl(
        "enqueue", "--id", "a", "--max-retries", "1", "-c", "echo 'first\n\x1b[31mlast' >&2; exit 5"
    )
    queuectl("enqueue", "--id", "b", "-c", "true")
    queuectl("worker", "start", "--drain")


FAR = [-99_999_999_999, 253_402_300_800, 8_000_000_000_000]


def test_files_of_impossible_times_hinder_no_command(queuectl, path):
    queuectl("init")
    (path / "schedules").mkdir(mode=0o700)
    rules = {"every": {"every": "1m"}, "cron": {"cron": "@daily", "zone": "Asia/Tokyo"}}
    for number, far in enumerate(FAR):
        files = {f"pending/drop-{number}.json": {"command": "true", "delay": "1h"}}
        for name, rule in rules.items():
            files[f"schedules/{name}-{number}.paused"] = {**rule, "job": {"command": "true"}}
        for name, content in files.items():
            (path / name).write_text(json.dumps(content))
            try:
                os.utime(path / name, (far, far))
            except OverflowError:
                pytest.skip(f"this file system has no time {far}")

    assert {record["id"] for record in queuectl.json("list")} == {
        f"drop-{number}.json" for number in range(len(FAR))
    }
    for words in (["list"], ["status"], ["schedule", "list"], ["show", "drop-2.json"]):
        queuectl(*words)
    for kept in sorted((path / "schedules").iterdir()):
        queuectl("schedule", "show", kept.stem)
    assert "ahead of now" in queuectl("doctor", code=1)
    queuectl("doctor", "--fix")


@pytest.mark.parametrize("time", ['"9999-12-31T23:59:59Z"', '"soon"', "5", "null", "1e300", "[]"])
def test_a_record_with_a_time_that_is_none_hides_nothing_else(queuectl, path, dead, time):
    file = path / "results" / "a.jsonl"
    text = re.sub(r'("(?:started|finished)_at":)"[^"]*"', rf"\g<1>{time}", file.read_text())
    file.write_text(text)

    [run] = queuectl.json("show", "a")["runs"]
    assert (run["started_at"], run["finished_at"], run["exit_code"]) == (None, None, 5)
    queuectl("show", "a")
    [run] = Spool(path).runs("a")
    assert (run.started_at, run.finished_at, run.exit_code) == (None, None, 5)


KEYS = {"id", "command", "state", "priority", "attempts", "max_retries", "created_at", "updated_at", "run_at", "worker", "file", "name", "batch", "waits"}  # fmt: skip


def test_the_keys_of_the_json_are_those_of_the_format(queuectl, dead):
    listed = queuectl.json("list")
    assert {frozenset(record) for record in listed} == {frozenset(KEYS)}
    assert [(record["id"], record["state"]) for record in listed] == [
        ("a", "dead"),
        ("b", "completed"),
    ]
    assert set(queuectl.json("show", "a")) > KEYS
    assert set(queuectl.json("status")) == {
        "spool",
        "jobs",
        "scheduled",
        "oldest_ready_seconds",
        "paused",
        "workers",
    }
    assert set(queuectl.json("dlq", "list")[0]) == KEYS | {"outcome", "reason", "stderr_tail"}
    assert queuectl.json("dlq", "show", "a") == queuectl.json("show", "a")


def test_workers_are_shown_with_what_they_run(queuectl, path, tmp_path):
    queuectl("enqueue", "--id", "a", "-c", f"until test -e {tmp_path}/go; do sleep 0.02; done")
    with Workers(path):
        until(lambda: ids_in(path, "processing") == ["a"])
        [worker] = queuectl.json("status")["workers"]
        assert {"name", "host", "pid", "alive", "job", "heartbeat_age"} <= set(worker)
        assert (worker["alive"], worker["job"]) == (True, "a")
        assert 0 <= worker["heartbeat_age"] < 60
        record = queuectl.json("show", "a")
        assert (record["worker"], record["state"], record["attempts"]) == (
            worker["name"],
            "processing",
            1,
        )
        assert "alive" in queuectl("status")
        assert "alive" in queuectl("worker", "list")
        (tmp_path / "go").touch()


def test_a_worker_that_died_is_shown_as_dead(queuectl, path):
    with Workers(path) as workers:
        workers.up()
        workers.kill()
    assert queuectl.json("worker", "list")[0]["alive"] is False
    assert "dead" in queuectl("worker", "list")


def test_list_is_ordered_limited_and_filtered(queuectl, path):
    for id, flags in {
        "low": ["--priority", "1"],
        "later": ["--delay", "1h"],
        "high": ["--priority", "9"],
    }.items():
        queuectl("enqueue", "--id", id, *flags, "-c", "true")

    assert [record["id"] for record in queuectl.json("list")] == ["high", "low", "later"]
    assert [record["id"] for record in queuectl.json("list", "--limit", "1")] == ["high"]
    assert queuectl.json("list", "--state", "dead") == []
    assert queuectl.json("status")["scheduled"] == 1
    assert queuectl.json("status")["oldest_ready_seconds"] >= 0


def test_tables_show_no_control_characters(queuectl, dead):
    out = queuectl("dlq", "list") + queuectl("show", "a") + queuectl("list")

    assert "\x1b" not in out
    assert "\\x1b[31mlast" in out
    assert "exit code 5" in out


def test_an_unreadable_job_file_hides_no_other(queuectl, path, dead):
    (path / "dead" / "20261121T000000.000000Z-p5-a1-broken.json").write_text("{")

    listed = {record["id"]: record for record in queuectl.json("list")}
    assert listed["broken"]["command"] is None
    assert listed["a"]["command"]
    assert "cannot be read" in queuectl("list")
    assert "no reason recorded" in queuectl("dlq", "list")
    assert queuectl.json("show", "broken")["runs"] == []


def test_no_such_job_is_exit_code_3(queuectl, dead):
    for words in (
        ["show", "x"],
        ["logs", "x"],
        ["cancel", "x"],
        ["remove", "x"],
        ["wait", "x"],
        ["dlq", "retry", "x"],
        ["dlq", "show", "x"],
        ["show", "../../etc/passwd"],
    ):
        assert "no job" in queuectl.refusal(*words, code=3)


def test_wait_answers_the_jobs_own_code(queuectl, dead):
    queuectl("wait", "b")
    queuectl("wait", "a", code=5)
    queuectl("wait", "a", "b", code=1)
    assert json.loads(queuectl("wait", "a", "b", "--json", code=1)) == [
        {"id": "a", "state": "dead", "exit_code": 5},
        {"id": "b", "state": "completed", "exit_code": 0},
    ]


def test_wait_waits_and_gives_up_in_time(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "sleep 0.3")
    assert "not ended within 50ms: a; wait longer" in queuectl.refusal(
        "wait", "a", "--timeout", "50ms", code=124
    )
    with Workers(path):
        queuectl("wait", "a", "--timeout", "30")


def test_a_unique_beginning_of_an_id_is_enough(queuectl):
    for id in ("build-1", "build-2", "test"):
        queuectl("enqueue", "--id", id, "-c", "true")

    assert queuectl.json("show", "te")["id"] == "test"
    assert "begins several ids (build-1, build-2)" in queuectl.refusal("show", "build", code=1)


def test_remove_frees_the_id(queuectl, path, dead):
    assert queuectl("remove", "a") == "a removed\n"
    assert names(path, "results") == ["b.jsonl"]
    queuectl("enqueue", "--id", "a", "-c", "true")


def test_one_refusal_among_several_does_not_stop_the_others(queuectl, path, dead):
    done = queuectl.run("remove", "x", "a", "b")

    assert (done.returncode, done.stdout) == (3, "a removed\nb removed\n")


def test_prune_says_what_it_removed(queuectl, path, dead):
    assert (
        queuectl("prune", QUEUECTL_KEEP_COMPLETED="0")
        == "removed 1 completed, 0 dead, 0 rejected\n"
    )
    assert queuectl.json("prune", QUEUECTL_KEEP_DEAD="0") == {
        "completed": 0,
        "dead": 1,
        "rejected": 0,
        "logs": 0,
        "events": 0,
    }


def test_all_dead_letters_are_retried_together(queuectl, path, dead):
    assert queuectl("dlq", "retry", "--all") == "a pending\n"
    assert "say --all" in queuectl.refusal("dlq", "retry", code=2)
    assert "is completed, not dead" in queuectl.refusal("dlq", "retry", "b", code=1)


def test_purge_wants_a_yes(queuectl, path, dead):
    assert "--yes" in queuectl.refusal("dlq", "purge", "--all", code=2)
    assert queuectl("dlq", "purge", "--all", "--yes") == "a removed\n"


@pytest.mark.parametrize(("answer", "left"), [("y", []), ("n", ["a"])])
def test_purge_asks_on_a_terminal(path, dead, answer, left):
    terminal = pexpect.spawn(
        sys.executable, ["-m", "queuectl", "dlq", "purge", "a"], env=environment(path), timeout=20
    )
    terminal.expect("for good")
    terminal.sendline(answer)
    terminal.expect(pexpect.EOF)

    assert ids_in(path, "dead") == left


# -- settings


def test_settings_are_set_shown_and_unset(queuectl, path):
    assert queuectl("config", "set", "max-retries", "5") == "max_retries = 5\n"
    assert (
        queuectl("config", "get", "max_retries")
        == queuectl("config", "get", "max-retries")
        == "5\n"
    )
    assert json.loads((path / "config.json").read_text()) == {"max_retries": 5}
    assert queuectl.json("config", "list")["max_retries"] == 5
    assert queuectl("config", "get", "max_retries", QUEUECTL_MAX_RETRIES="6") == "6\n"
    assert queuectl("config", "unset", "max-retries") == "max_retries = 3\n"
    assert "backoff_base" in queuectl("config", "list")
    queuectl("config", "set", "poll_interval_ms", "250")
    assert (
        queuectl("config", "get", "poll-interval"),
        queuectl("config", "get", "poll_interval_ms"),
    ) == ("0.25\n", "250.0\n")


def test_settings_are_shown_without_a_spool_and_make_none(queuectl, path):
    shown = queuectl.json("config", "list", QUEUECTL_MAX_RETRIES="9")
    assert (shown["max_retries"], shown["backoff_base"]) == (9, 2)
    assert "max_retries           3 " in queuectl("config", "list")
    assert queuectl("config", "get", "keep-completed") == "7d\n"
    assert queuectl("config", "get", "limit.gpu") == "1\n"
    assert "must be" in queuectl.refusal("config", "list", code=2, QUEUECTL_MAX_RETRIES="many")
    assert "no setting" in queuectl.refusal("config", "get", "nothing", code=2)
    assert not path.exists()

    path.mkdir()
    (path / "x").touch()
    assert "is no spool" in queuectl.refusal("config", "list", code=1)


def test_a_damaged_config_is_named_by_every_command_that_needs_it(queuectl, path):
    queuectl("init")
    (path / "config.json").write_text('{"max_retries": 5')

    for words in (
        ["list"],
        ["config", "list"],
        ["config", "set", "timeout", "5"],
        ["worker", "start"],
        ["enqueue", "-c", "x"],
    ):
        error = queuectl.refusal(*words, code=1)
        assert str(path / "config.json") in error
        assert "correct the file" in error
    assert (path / "config.json").read_text() == '{"max_retries": 5'


def test_a_wrong_variable_is_named(queuectl):
    queuectl("init")

    assert "QUEUECTL_MAX_RETRIES: max_retries must be" in queuectl.refusal(
        "list", code=2, QUEUECTL_MAX_RETRIES="many"
    )


# -- manners


def test_a_closed_pipe_ends_quietly(queuectl, path):
    queuectl("enqueue", "-", input='{"command":"true"}\n' * 3000)
    command = f"{shlex.quote(sys.executable)} -m queuectl list --limit 0 --json | head -1"

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}; true"],
        env=environment(path),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[\n"
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["wait", "a"], ["logs", "a", "-f"], ["enqueue", "-"]])
def test_ctrl_c_ends_without_a_traceback(queuectl, path, words):
    queuectl("enqueue", "--id", "a", "-c", "true")
    process = subprocess.Popen(
        [sys.executable, "-m", "queuectl", *words],
        env=environment(path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until(
        lambda: (
            "queuectl" in Path(f"/proc/{process.pid}/cmdline").read_text()
            and is_sleeping(process.pid)
        )
    )
    process.send_signal(signal.SIGINT)

    _, err = process.communicate(timeout=20)
    assert b"Traceback" not in err
    assert process.returncode in (130, -2)


def is_sleeping(pid):
    """Whether a process has loaded click and waits."""
    maps, stat = Path(f"/proc/{pid}/maps").read_text(), Path(f"/proc/{pid}/stat").read_text()
    return "_json" in maps and stat.rpartition(")")[2].split()[0] == "S"


def test_a_table_on_a_terminal_has_colour_unless_told_not_to(path, dead):
    env = {**environment(path), "TERM": "xterm-256color"}
    plain = pexpect.run(f"{sys.executable} -m queuectl list", env=env)
    env.pop("NO_COLOR")
    colourful = pexpect.run(f"{sys.executable} -m queuectl list", env=env)

    assert b"\x1b[" in colourful
    assert b"\x1b[" not in plain


def test_results_go_to_stdout_alone(queuectl, dead):
    for words in (["list"], ["status"], ["show", "a"], ["dlq", "list"], ["config", "list"]):
        assert queuectl.run(*words).stderr == ""
        json.loads(queuectl(*words, "--json"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completion_knows_the_commands(path, shell):
    script = subprocess.run(
        [sys.executable, "-m", "queuectl"],
        env=environment(path, _QUEUECTL_COMPLETE=f"{shell}_source"),
        capture_output=True,
        text=True,
        check=False,
    )
    answer = subprocess.run(
        [sys.executable, "-m", "queuectl"],
        env=environment(path, _QUEUECTL_COMPLETE=f"{shell}_complete", COMP_WORDS="queuectl st", COMP_CWORD="st" if shell == "fish" else "1"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "_QUEUECTL_COMPLETE" in script.stdout
    assert "status" in answer.stdout


def test_a_setting_that_begins_with_a_dash_is_a_wrong_value_and_no_option(queuectl):
    assert "whole number" in queuectl.refusal("config", "set", "max-retries", "-2", code=2)
