"""The Python in the documents and the examples runs, and its types are right."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl import Spool
from tests.support import environment, ids_in, names, until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "python"


def python(*words, cwd, **env):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd, env={**environment(cwd / "spool"), **env}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip


def test_the_python_of_the_page_runs_from_top_to_bottom(tmp_path):
    code = "\n".join(
        re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    )

    done = python("-c", code, cwd=tmp_path, HOME=str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert len(names(tmp_path / ".queuectl", "pending")) == 103
    assert len(names(tmp_path / ".queuectl-tasks", "completed")) == 1


def test_the_examples_work_together(spool, path, tmp_path):
    (tmp_path / "cat.txt").write_text("a cat" * 100)
    consumer = subprocess.Popen(
        [sys.executable, EXAMPLES / "consume.py", path],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(path),
    )
    try:
        done = python(
            EXAMPLES / "submit.py",
            path,
            tmp_path / "cat.txt",
            tmp_path / "dog.gif",
            tmp_path / "missing.txt",
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert re.sub(r"^\w+: ", "", done.stdout, flags=re.MULTILINE).splitlines() == [
            "done", "cannot read pictures like dog.gif", "missing.txt has not come yet",
        ]  # fmt: skip
        assert (tmp_path / "cat.thumb").read_text() == "a cat" * 20
        spool.enqueue(["archive", str(tmp_path / "x.tar"), str(tmp_path / "cat.txt")], id="archive")
        spool.enqueue("count", meta={"steps": 1000}, id="count")
        spool.enqueue("nonsense", id="nonsense")
        assert [result.state for result in spool.wait_all(["archive", "count", "nonsense"])] == [
            "completed",
            "completed",
            "dead",
        ]
        assert (tmp_path / "x.tar").exists()
        consumer.send_signal(signal.SIGTERM)
        assert consumer.wait(20) == 0
        assert "dead after attempt 1: no task 'nonsense' here" in consumer.stderr.read()
    finally:
        consumer.kill()
        consumer.wait()
        consumer.stderr.close()
    assert os.listdir(path / "workers") == []


def test_the_example_with_several_processes_squares_each_number_once(spool, path, tmp_path):
    spool.enqueue_all([{"command": "square", "meta": {"number": number}} for number in range(20)])

    done = python(EXAMPLES / "pool.py", path, 2, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert sorted(map(int, done.stdout.split())) == [number**2 for number in range(20)]


def test_the_example_of_a_test_passes(tmp_path):
    (tmp_path / "test_report.py").write_text((EXAMPLES / "test_report.py").read_text())

    done = python(
        *("-m", "pytest", "-p", "queuectl.pytest_plugin", "-q"),
        cwd=tmp_path,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        PYTEST_DEBUG_TEMPROOT=str(
            tmp_path
        ),  # where pytest's clean-up does not meet the trees of this suite's earlier runs
    )

    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_the_types_are_those_that_users_see(tmp_path):
    (tmp_path / "wrong.py").write_text("""
from queuectl import ClaimedJob, JobView, Result, Spool

spool = Spool("x")
id: str = spool.enqueue("true", priority=9, delay="10m")
spool.enqueue("true", priorty=9)
result: Result = spool.wait(id)
views: list[JobView] = list(spool.jobs())
code: str = result.exit_code
for job in spool.consume():
    with job:
        held: ClaimedJob = job
        job.fail("x", retry=False)
""")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", *map(str, sorted(EXAMPLES.glob("*.py"))), str(tmp_path / "wrong.py")],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip

    found = re.findall(r"^(\S+?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert [(Path(file).name, line, kind) for file, line, kind in found] == [
        ("wrong.py", "6", "call-arg"),
        ("wrong.py", "9", "assignment"),
    ], done.stdout + done.stderr


def test_the_readme_consumes_what_was_enqueued(path, tmp_path):
    _, code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    Spool(path).enqueue({"command": "resize", "meta": {"picture": "cat.png"}})

    done = python("-c", code.replace("~/.queuectl-tasks", str(path)), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "cat.png" in done.stdout
    assert len(ids_in(path, "completed")) == 1
    assert (
        json.loads((path / "results" / f"{ids_in(path, 'completed')[0]}.jsonl").read_text())[
            "outcome"
        ]
        == "completed"
    )
    until(lambda: os.listdir(path / "workers") == [])
