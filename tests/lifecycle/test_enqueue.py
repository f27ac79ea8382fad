"""queuectl enqueue: every way to put jobs in, and every way to be refused."""

import json
import os
import signal
import subprocess
import sys

import pexpect
import pytest

from queuectl.units import instant
from tests.support import environment, ids_in, names


def only_job(path):
    [name] = names(path, "pending")
    return name, json.loads((path / "pending" / name).read_text())


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (['{"command":"echo hi"}'], "echo hi"),
        (["--job", '{"command":"echo hi"}'], "echo hi"),
        (["-c", "echo hi | cat"], "echo hi | cat"),
        (["--command", "echo hi"], "echo hi"),
        (["--", "ls", "-l", "a b"], ["ls", "-l", "a b"]),
        (["ls"], ["ls"]),
        (["--priority", "3", "--", "ls", "--priority"], ["ls", "--priority"]),
    ],
)
def test_every_form_enqueues_its_command(queuectl, path, words, command):
    id = queuectl("enqueue", *words).strip()

    name, record = only_job(path)
    assert record["command"] == command
    assert name.endswith(f"-{id}.json")


def test_flags_fill_the_fields(queuectl, path, tmp_path):
    queuectl(
        "enqueue", "--id", "a", "--priority", "9", "--max-retries", "7", "--timeout", "5m", "--delay", "1h", "--cwd", "sub", "--env", "A=1=2",
        "--env", "B=", "--name", "my job", "--export", "none", "-c", "true", cwd=tmp_path,
    )  # fmt: skip

    name, record = only_job(path)
    created = instant(record.pop("created_at"))
    assert record == {
        "command": "true", "id": "a", "priority": 9, "max_retries": 7, "timeout": 300.0, "delay": 3600.0, "cwd": str(tmp_path / "sub"),
        "env": {"A": "1=2", "B": ""}, "name": "my job",
    }  # fmt: skip
    assert name.endswith("-p9-a0-a.json")
    assert queuectl.json("list")[0]["run_at"] == queuectl.json("show", "a")["run_at"]
    assert instant(queuectl.json("list")[0]["run_at"]) == pytest.approx(created + 3600)


def test_flags_beat_the_fields_of_the_json(queuectl, path):
    queuectl(
        "enqueue",
        '{"command":"true","priority":1,"delay":5,"env":{"A":"json","B":"json"}}',
        "--priority",
        "2",
        "--run-at",
        "2030-01-01T00:00:00Z",
        "--env",
        "A=flag",
    )

    name, record = only_job(path)
    assert name.startswith("20300101T000000.000000Z-p2-")
    assert (record["env"]["A"], record["env"]["B"]) == ("flag", "json")
    assert "delay" not in record


def test_a_time_without_a_zone_is_of_this_machine(queuectl, path):
    queuectl("enqueue", "--run-at", "2030-01-01 00:00", "-c", "true", TZ="UTC-2")

    assert only_job(path)[0].startswith("20291231T220000.000000Z")


def test_a_job_beyond_all_times_is_refused_in_one_line(queuectl, path):
    far = '{"command":"true","created_at":"2199-12-31T00:00:00Z","delay":"36500d"}'

    said = queuectl.refusal("enqueue", far, code=2)

    assert said == "queuectl: delay: ends after the year 2199"
    assert not path.exists()


def test_a_time_that_the_clocks_skip_is_not_made_earlier(queuectl, path):
    queuectl("enqueue", "--run-at", "2027-03-28T02:30", "-c", "true", TZ="Europe/Berlin")

    assert only_job(path)[0].startswith("20270328T013000.000000Z")


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        ([], {"PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "CONDA_PREFIX"}),
        (["--export", "none"], set()),
        (["--export", "SECRET, LANG"], {"SECRET", "LANG"}),
    ],
)
def test_what_comes_along_from_the_environment_is_chosen(queuectl, path, export, expected):
    queuectl(
        "enqueue",
        *export,
        "-c",
        "true",
        LANG="C",
        LC_ALL="C",
        TZ="UTC",
        VIRTUAL_ENV="/v",
        CONDA_PREFIX="/c",
        SECRET="s",
        HOME="",
    )

    assert set(only_job(path)[1].get("env", {})) - {"HOME"} - {
        k for k in os.environ if k.startswith(("LC_", "CONDA_"))
    } == expected - {k for k in os.environ if k.startswith(("LC_", "CONDA_"))}


def test_export_all_takes_everything_but_settings_of_ours(queuectl, path):
    queuectl("enqueue", "--export", "all", "-c", "true", SECRET="s", QUEUECTL_JOB_ID="outer")

    env = only_job(path)[1]["env"]
    assert env["SECRET"] == "s"
    assert not [name for name in env if name.startswith("QUEUECTL_")]


def test_a_variable_that_is_no_text_stays_behind_and_is_named(queuectl, path):
    done = queuectl.run("enqueue", "-c", "true", LANG=os.fsdecode(b"\xff"))

    assert done.returncode == 0
    assert done.stderr == "queuectl: note: not exported, because not UTF-8 text: LANG\n"
    assert "LANG" not in only_job(path)[1].get("env", {})


def test_a_job_says_itself_where_it_runs_wherever_we_are(queuectl, path, tmp_path):
    (tmp_path / "gone").mkdir()
    leave = ["sh", "-c", f'cd {tmp_path}/gone && rmdir {tmp_path}/gone && exec "$@"', "sh"]

    queuectl("enqueue", '{"command": "true", "cwd": "/"}', prefix=leave)

    assert only_job(path)[1]["cwd"] == "/"


@pytest.mark.parametrize("verb", [["enqueue"], ["run"], ["schedule", "add", "a", "--every", "1h"]])
def test_a_mistake_in_export_changes_nothing(queuectl, path, verb):
    said = queuectl.refusal(*verb, "--export", "LANG,TYPO", "-c", "true", code=2, LANG="C")

    assert "--export: 'TYPO' is not set here" in said
    assert not path.exists()


@pytest.mark.parametrize("words", [["-"], ["--file", "-"], ["--file", "jobs.jsonl"]])
def test_many_jobs_come_from_lines(queuectl, path, tmp_path, words):
    lines = '{"command":"true","id":"a"}\n\n{"command":["true"],"id":"b"}\r\n{"command":"true"}'
    (tmp_path / "jobs.jsonl").write_text(lines)

    out = queuectl("enqueue", *words, "--priority", "8", input=lines, cwd=tmp_path)

    assert out.split()[:2] == ["a", "b"]
    assert len(names(path, "pending")) == 3
    assert all("-p8-" in name for name in names(path, "pending"))


BAD_LINES = '{"command":"true","id":"a"}\n{"command":}\n{"command":"true","id":"a"}\n{"comand":"x"}\n{"command":"true","id":"b"}\n'


def test_one_bad_line_stops_all_and_each_is_named_with_its_reason(queuectl, path):
    done = queuectl.run("enqueue", "-", input=BAD_LINES)

    assert (done.returncode, done.stdout) == (2, "")
    errors = done.stderr.splitlines()
    assert len(errors) == 4
    assert errors[0].startswith("queuectl: stdin line 2: is not JSON: no value at column 12; ")
    assert "stdin line 3: id: 'a' is the id of stdin line 1 already" in errors[1]
    assert "line 4: unknown field 'comand'; did you mean 'command'?" in errors[2]
    assert "nothing was enqueued" in errors[3]
    assert names(path, "pending") == [] if path.exists() else True


def test_skip_bad_names_the_bad_lines_and_enqueues_the_others(queuectl, path):
    done = queuectl.run("enqueue", "-", "--skip-bad", input=BAD_LINES)

    assert (done.returncode, done.stdout) == (0, "a\nb\n")
    assert len(done.stderr.splitlines()) == 3
    assert ids_in(path, "pending") == ["a", "b"]


def test_a_taken_id_is_refused_with_exit_code_4_and_its_state(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")

    assert "a job with this id is pending" in queuectl.refusal(
        "enqueue", "--id", "a", "-c", "false", code=4
    )
    done = queuectl.run(
        "enqueue", "-", input='{"command":"x","id":"b"}\n{"command":"x","id":"a"}\n'
    )
    assert done.returncode == 4
    assert "line 2: id 'a' is taken" in done.stderr
    assert ids_in(path, "pending") == ["a"]


REFUSED = [
    (["enqueue", "{"], 2, "argument: is not JSON: no key in double quotes at column 2"),
    (["enqueue", '{"command":"x",}'], 2, "at column 16; write"),
    (["enqueue", "[1]"], 2, "not a list"),
    (["enqueue", '{"command":""}'], 2, "command: must not be empty"),
    (["enqueue", '{"command":"x","priority":"high"}'], 2, "priority: must be a whole number"),
    (["enqueue", '{"command":"x","prioritty":1}'], 2, "did you mean 'priority'?"),
    (["enqueue", '{"command":"x","id":"../../etc/x"}'], 2, "is no id"),
    (["enqueue", '{"command":"\\ud800"}'], 2, "surrogate"),
    (["enqueue", os.fsdecode(b'{"command":"\xff"}')], 2, "not UTF-8"),
    (["enqueue", "-c", os.fsdecode(b"\xff")], 2, "command: must be text"),
    (["enqueue", "--id", "a/b", "-c", "x"], 2, "is no id"),
    (["enqueue", "--priority", "11", "-c", "x"], 2, "priority: must be from 0 to 9"),
    (["enqueue", "--priority", "high", "-c", "x"], 2, "not a valid integer"),
    (["enqueue", "--delay", "soon", "-c", "x"], 2, "delay: 'soon' is no duration"),
    (["enqueue", "--delay", "5", "--run-at", "2030-01-01", "-c", "x"], 2, "cannot stand together"),
    (["enqueue", "--run-at", "soon", "-c", "x"], 2, "'soon' is no time"),
    (["enqueue", "--timeout", "-1", "-c", "x"], 2, "timeout"),
    (["enqueue", "--env", "A", "-c", "x"], 2, "NAME=VALUE"),
    (["enqueue", "--max-retries", "0", "-c", "x"], 2, "max_retries: must be from 1"),
    (["enqueue"], 2, "what shall run?"),
    (["enqueue", "-c", "x", "--job", "{}"], 2, "give one job"),
    (["enqueue", "echo hi; ls"], 2, "is 'echo hi; ls' a shell command"),
    (["enqueue", "--file", "/no/such/file"], 2, "cannot read /no/such/file"),
    (["enqueue", "--file", "/"], 2, "cannot read /"),
    (["enqueue", "--id", "x", "-"], 2, "--id names one job"),
    (["enqueue", "--no-such-flag", "-c", "x"], 2, "No such option"),
    (["nonsense"], 2, "No such command"),
    (["worker", "start", "--count", "0"], 2, "--count"),
    (["worker", "start", "--duration", "x"], 2, "--duration"),
    (["worker", "start", "--set", "x"], 2, "KEY=VALUE"),
    (["worker", "start", "--set", "x=1"], 2, "no setting 'x'"),
    (["config", "set", "max-retrys", "5"], 2, "did you mean max_retries?"),
    (["config", "set", "max-retries", "0"], 2, "max_retries must be"),
    (["show", "x"], 1, "no spool at"),
    (["status"], 1, "queuectl init"),
    (["list", "--limit", "-1"], 2, "--limit"),
    (["list", "--state", "gone"], 2, "--state"),
    (["wait", "x", "--timeout", "never"], 2, "--timeout"),
]


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    REFUSED,
    ids=lambda value: (
        " ".join(value).encode("ascii", "replace").decode() if isinstance(value, list) else ""
    ),
)
def test_wrong_words_get_one_clear_line_and_change_nothing(queuectl, path, words, code, reason):
    error = queuectl.refusal(*words, code=code)

    assert reason in error
    assert not path.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["enqueue", "-c", "x"],
        ["status"],
        ["worker", "start"],
        ["config", "set", "timeout", "5"],
        ["init"],
    ],
)
def test_a_spool_that_is_a_file_is_refused(queuectl, path, words):
    path.write_text("")

    assert "not a directory" in queuectl.refusal(*words, code=1)
    assert path.read_text() == ""


@pytest.mark.parametrize(
    "words", [["enqueue", "-c", "x"], ["status"], ["worker", "start"], ["list"]]
)
def test_a_spool_of_a_newer_format_is_refused(queuectl, path, words):
    queuectl("init")
    (path / "spool.json").write_text('{"version": 2}')

    assert "version 2" in queuectl.refusal(*words, code=1)
    assert names(path, "pending") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_a_spool_that_is_not_ours_is_refused_in_one_line(queuectl, path):
    queuectl("init")
    path.chmod(0o700)
    # Once as root, so that everything is loaded: that other user may not be able to read our interpreter.
    script = """
import contextlib, io, os, sys
from queuectl.cli import invoke
with contextlib.redirect_stderr(io.StringIO()):
    invoke(["--spool", "/dev/null/none", *sys.argv[1:]])
os.setuid(65534)
sys.exit(invoke(sys.argv[1:]))
"""
    import subprocess

    for words in (["enqueue", "-c", "x"], ["status"], ["worker", "start"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env=environment(path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_progress_bar_is_shown_on_a_terminal(path, tmp_path):
    (tmp_path / "jobs").write_text('{"command":"true"}\n' * 2500)
    env = {**environment(path), "TERM": "xterm-256color"}
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "queuectl", "enqueue", "--file", str(tmp_path / "jobs")],
        env=env,
        timeout=30,
        encoding="utf-8",
    )
    terminal.expect("enqueueing")
    terminal.expect("100%")
    terminal.expect(pexpect.EOF)

    assert len(names(path, "pending")) == 2500


KILLED = """
import os, signal, sys
from queuectl import Spool, disk
spool = Spool(sys.argv[1]).make()
disk.sync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
spool.enqueue_all([{"command": "true", "id": id} for id in sys.argv[2:]])
"""


def test_a_bulk_whose_enqueuer_was_killed_can_be_enqueued_again(queuectl, path):
    ids = ["a", "b", "c"]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), *ids], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(os.listdir(path / "ids")) == ids

    queuectl("enqueue", "-", input="".join(f'{{"command": "true", "id": "{id}"}}\n' for id in ids))

    assert ids_in(path, "pending") == ids
