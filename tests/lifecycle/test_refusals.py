"""What is said when many things are refused, and when one is: the subject, the fault, the cure."""

import json

import pytest

from tests.support import ids_in


def said(queuectl, *words, code, **options):
    """The lines on stderr of a command that must refuse."""
    done = queuectl.run(*words, **options)
    assert done.returncode == code, done.stderr
    return done.stderr.splitlines()


def test_of_equal_refusals_three_are_shown_and_the_others_counted(queuectl, path, tmp_path):
    (tmp_path / "jobs.jsonl").write_text('{"command": }\n' * 40 + '{"comand": "x"}\n')

    *lines, last = said(queuectl, "enqueue", "--file", "jobs.jsonl", code=2, cwd=tmp_path)

    fault = "is not JSON: no value at column 13; put strings into double quotes"
    assert lines == [
        *(f"queuectl: jobs.jsonl line {number}: {fault}" for number in (1, 2, 3)),
        "queuectl: jobs.jsonl line 41: unknown field 'comand'; did you mean 'command'?",
        "queuectl: 37 more like jobs.jsonl line 1: 4-40",
    ]
    assert "nothing was enqueued; correct 41 of 41 lines" in last
    assert not path.exists()


def test_lines_that_are_skipped_are_named(queuectl, path):
    good, bad = '{"command": "true"}', '{"command": "true", "priority": 10}'
    lines = [bad] * 5 + [good] + [bad] * 2 + [good]

    done = queuectl.run("enqueue", "-", "--skip-bad", input="\n".join(lines))

    assert (done.returncode, len(done.stdout.split())) == (0, 2)
    assert done.stderr.endswith("queuectl: 4 more like stdin line 1: 4-5, 7-8\n")


@pytest.mark.parametrize(
    "verb",
    [
        "cancel",
        "remove",
        "hold",
        "release",
        "retry",
        "dlq retry",
        "dlq purge --yes",
        "schedule remove",
    ],
)
def test_many_ids_that_are_not_there_are_four_lines(queuectl, verb):
    queuectl("init")
    ids = [f"{letter}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]

    lines = said(queuectl, *verb.split(), *ids, code=3)

    assert len(lines) == 4
    assert [f"'{id}'" in line for id, line in zip(ids, lines, strict=False)] == [True] * 3 + [False]
    assert lines[3].startswith("queuectl: 23 more like aa: dd, ee, ff, ")


def test_jobs_in_the_wrong_state_are_one_kind_however_they_are_called(queuectl, path):
    ids = [f"{letter}-job" for letter in "abcdef"]
    queuectl("enqueue", "-", input="\n".join(json.dumps({"id": i, "command": "true"}) for i in ids))

    lines = said(queuectl, "release", *ids, code=1)

    assert len(lines) == 4
    assert lines[3] == "queuectl: 3 more like a-job: d-job, e-job, f-job"


def test_a_job_that_is_too_large_is_one_bad_line_of_many(queuectl, path):
    lines = '{"command": "true", "id": "a"}\n' + json.dumps({"command": "#" * 9000})

    done = queuectl.run("enqueue", "-", "--skip-bad", input=lines, QUEUECTL_MAX_JOB_SIZE="8000")

    assert (done.returncode, ids_in(path, "pending")) == (0, ["a"])
    assert done.stderr.startswith("queuectl: stdin line 2: the job has 9")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["enqueue", "{"], "argument: is not JSON: no key in double quotes at column 2; "),
        (["run", "{"], "argument: is not JSON: no key in double quotes"),
        (["schedule", "add", "s", "--every", "1m", "{"], "argument: is not JSON: no key"),
        (["enqueue", "--job", '{"a\x01": 1}'], "--job: is not JSON: a control character in a "),
        (["enqueue", '{"cmd": "true"}'], "unknown field 'cmd'; did you mean 'command'?"),
        (["enqueue", "--success-codes", "[0,", "-c", "x"], "success_codes: is not JSON: no value"),
        (
            ["enqueue", "--retry-after-codes", "75=1m,075=2m", "-c", "x"],
            "exit code 75 stands twice",
        ),
        (["config", "set", "success_codes", "[0,"], "success_codes: is not JSON: no value"),
        (["config", "set", "timeout", "soon"], "timeout: 'soon' is no duration; write seconds"),
        (["config", "set", "retries", "5"], "no setting 'retries'; did you mean max_retries?"),
        (["enqueue", "--cmd", "true"], "No such option '--cmd'. Did you mean '--command'?"),
        (["enqueue", "--retries", "1", "-c", "x"], "Did you mean '--max-retries'?"),
        (["run", "--workdir", "/", "-c", "x"], "No such option '--workdir'. Did you mean '--cwd'?"),
        (["worker", "start", "--concurrency", "2"], "Did you mean '--count'?"),
        (["enqueue", "--zzzz", "-c", "x"], "No such option '--zzzz'."),
    ],
)
def test_a_refusal_names_what_is_wrong(queuectl, path, words, line):
    assert line in said(queuectl, *words, code=2)[-1]
    assert not path.exists()


def test_a_file_that_is_no_json_is_named_with_the_fault(queuectl, path):
    queuectl("init")
    (path / "config.json").write_text('{"max_retries": 5,\n "timeout" 3}')
    fault = "is not JSON: no colon after a key at line 2 column 12; write"
    [line] = said(queuectl, "list", code=1)
    assert f"settings in {path}/config.json are damaged ({fault}" in line
    (path / "config.json").unlink()

    (path / "pending" / "a.json").write_text('{"command": "x\ty"}')
    queuectl("worker", "start", "--drain")
    [reason] = (path / "rejected").glob("*.reason")
    assert reason.read_text().startswith(
        "is not JSON: a control character in a string at column 15"
    )
