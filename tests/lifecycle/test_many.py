"""Arrays, a job for each line, and the flags of every field."""

import json

import pytest

from tests.support import ids_in, names

NASTY = [
    "plain",
    "; rm -rf x",
    "$(touch bad)",
    "`touch bad`",
    "it's",
    'a "b"',
    "-rf",
    "--help",
    "  two  spaces ",
    "back\\slash",
    "ü",
    "*",
    "2",
]


def records(path, state="pending"):
    return [
        json.loads((path / state / name).read_text())
        for name in sorted(names(path, state), key=lambda name: name.split("-", 3)[3])
    ]


def test_an_array_is_a_job_for_each_index(queuectl, path, tmp_path):
    out = queuectl(
        "enqueue",
        "--array",
        "1-5:2,8",
        "--id",
        "f-{}",
        "--name",
        "frame {}",
        "--batch",
        "film",
        "-c",
        "echo {}$QUEUECTL_ARRAY_INDEX",
    )

    assert out == "f-1\nf-3\nf-5\nf-8\n"
    assert [(r["command"].split()[1], r["name"], r["batch"]) for r in records(path)][-1] == (
        "8$QUEUECTL_ARRAY_INDEX",
        "frame 8",
        "film",
    )
    queuectl("worker", "start", "--drain")
    assert queuectl("logs", "f-8") == "88\n"
    assert (path / "batches" / "film").read_text() == out


def test_an_array_waits_for_another_index_by_index(queuectl, path):
    queuectl("enqueue", "--array", "1-2", "--id", "cut-{}", "--", "true")
    queuectl("enqueue", "--array", "1-2", "--id", "glue-{}", "--after", "cut-{}", "--", "true")

    assert [record["after"] for record in records(path)[2:]] == [["cut-1"], ["cut-2"]]


@pytest.mark.parametrize("command", [["-c", "printf '%s\\n' {} \"$QUEUECTL_LINE\""], ["-c", "printf '%s\\n' {}"], ["-c", "printf '%s\\n'"], ["--", "printf", "%s\\n", "{}"], ["--", "printf", "%s\\n"]])  # fmt: skip
def test_each_line_is_data_for_the_job(queuectl, path, tmp_path, command):
    (tmp_path / "lines").write_text("\n".join([*NASTY, "", "last without end"]))

    ids = queuectl(
        "enqueue", "--each-line", str(tmp_path / "lines"), *command, cwd=tmp_path
    ).split()
    queuectl("worker", "start", "--drain")

    twice = 2 if "QUEUECTL_LINE" in command[-1] else 1
    assert [queuectl("logs", id) for id in ids] == [
        f"{line}\n" * twice for line in [*NASTY, "last without end"]
    ]
    assert not (tmp_path / "bad").exists()


def test_lines_come_from_stdin_and_a_bad_one_is_named(queuectl, path):
    lines = b"one\n\xff\nthree\n"
    done = queuectl.run("enqueue", "--each-line", "-", "-c", "echo", input=lines)
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 2: is not UTF-8 text" in done.stderr

    assert (
        len(
            queuectl("enqueue", "--each-line", "-", "--skip-bad", "-c", "echo", input=lines).split()
        )
        == 2
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--array", "9-1", "-c", "x"], "--array: '9-1' is no array"),
        (["--array", "1-2", "--each-line", "-", "-c", "x"], "both say which jobs"),
        (["--array", "1-2", "--file", "-"], "both say which jobs"),
        (["--array", "1-2", "--id", "x", "-c", "x"], "nothing was enqueued"),
        (["--each-line", "/nowhere", "-c", "x"], "cannot read /nowhere"),
        (["--each-line", "-", "--stdin", "-", "-c", "x"], "cannot be read twice"),
        (["--stdin", "/nowhere", "-c", "x"], "--stdin: cannot read /nowhere"),
        (["--stdin", "/bin/sh", "-c", "x"], "is not UTF-8 text"),
        (["--batch", "../x", "-c", "x"], "batch: '../x' must be 1 to 100"),
        (["--success-codes", "300", "-c", "x"], "success_codes: '300' is no exit code"),
        (["--after", "nobody", "-c", "x"], "no job 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(queuectl, path, words, reason):
    error = queuectl.refusal("enqueue", *words, code=2, input=b"")

    assert reason in error
    assert not path.exists() or names(path, "pending") == []


def test_every_field_has_a_flag(queuectl, path):
    for id in ("one", "two", "three"):
        queuectl("enqueue", "--id", id, "-c", "true")
    queuectl(
        "enqueue", "--id", "zz", "--batch", "b", "--limit", "gpu:0", "--unique", "k", "--after", "one,two", "--after", "last", "--after-any", "one",
        "--after-failed", "two", "--success-codes", "0,99", "--no-retry-codes", "100", "--retry-after-codes", "75=10m", "--export", "none", "-c", "true",
    )  # fmt: skip

    record = records(path)[-1]
    assert {key: record[key] for key in record if key not in ("command", "created_at", "cwd")} == {
        "id": "zz", "batch": "b", "limit": "gpu:0", "unique": "k", "after": ["one", "two", "three"], "after_any": ["one"], "after_failed": ["two"],
        "success_codes": [0, 99], "no_retry_codes": [100], "retry_after_codes": {"75": "10m"},
    }  # fmt: skip
    assert "unique 'k' is held by job zz" in queuectl.refusal(
        "enqueue", "--unique", "k", "-c", "true", code=4
    )


def test_json_lines_carry_every_field_and_wait_for_each_other_in_any_order(queuectl, path):
    lines = [
        {"command": "true", "id": f"j{number}", "after": [f"j{number + 1}"], "batch": "b"}
        for number in range(1500)
    ]
    lines.append({"command": "true", "id": "j1500", "batch": "b"})

    out = queuectl("enqueue", "-", input="\n".join(map(json.dumps, lines)))

    assert out.split() == [f"j{number}" for number in range(1501)]
    assert len(ids_in(path, "pending")) == 1501


def test_a_file_becomes_what_the_command_reads(queuectl, path, tmp_path):
    (tmp_path / "text").write_text("grüße\n\0")
    queuectl("enqueue", "--id", "a", "--stdin", str(tmp_path / "text"), "-c", "cat")
    queuectl("enqueue", "--id", "b", "--stdin", "-", "--", "cat", input="from a pipe")
    (tmp_path / "text").write_text("changed")

    queuectl("worker", "start", "--drain")

    assert queuectl("logs", "a") == "grüße\n\0"
    assert queuectl("logs", "b") == "from a pipe"


@pytest.mark.parametrize(
    ("words", "input"),
    [
        (["-"], json.dumps({"command": "#" * 140_000})),
        (["-", "--env", "A=1"], json.dumps({"command": "true", "env": {"B": "x" * 140_000}})),
        (["--each-line", "-", "-c", "echo"], "x" * 140_000),
        (["--each-line", "-", "--", "echo"], "x" * 140_000),
        (["--each-line", "-", "-c", 'echo "$QUEUECTL_LINE"'], "x" * 140_000),
        (["--each-line", "-", "--", "echo", "{}" * 50], "x" * 3000),
        (["--array", "100000", "-c", ": " + "{}" * 25_000], None),
    ],
)
def test_a_command_that_is_too_long_to_start_is_refused(queuectl, path, words, input):
    done = queuectl.run("enqueue", *words, input=input)

    assert (done.returncode, done.stdout) == (2, "")
    assert "and the system accepts 131071 at most; put it into a file, or into stdin" in done.stderr
    assert not path.exists()


def test_a_drop_that_is_too_long_to_start_is_rejected(queuectl, path):
    queuectl("init")
    (path / "pending" / "a.json").write_text(json.dumps({"command": ["echo", "x" * 140_000]}))
    queuectl("worker", "start", "--drain")

    [reason] = (path / "rejected").glob("*.reason")
    assert reason.read_text().startswith("command: a word has 140000 bytes")
