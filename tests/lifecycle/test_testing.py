"""The pytest plugin: users' tests with a spool of their own, in a pytest of their own."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from queuectl import processes
from queuectl.testing import SpoolUnderTest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest on a file, with the plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(code):
        pytester.makepyfile(code)
        return pytester.runpytest_subprocess(
            "-p", "queuectl.pytest_plugin", "-p", "no:cacheprovider"
        )

    return run


@pytest.fixture
def under_test(path):
    return SpoolUnderTest(path).make()


def test_a_users_test_enqueues_drains_and_looks(run):
    done = run("""
        def test_fine(queuectl_spool, tmp_path):
            queuectl_spool.enqueue(f"echo hi > {tmp_path}/out", id="a")
            [result] = queuectl_spool.drain(fail_on_dead=True)
            assert result.is_completed
            assert (tmp_path / "out").read_text() == "hi\\n"

        def test_another_spool(queuectl_spool):
            assert list(queuectl_spool.jobs()) == []
            assert queuectl_spool.drain() == []
    """)

    done.assert_outcomes(passed=2)


def test_a_dead_letter_fails_the_test_with_its_stderr_if_that_is_wanted(run):
    done = run("""
        def test_wanted(queuectl_spool):
            queuectl_spool.enqueue("echo oh no, the disk >&2; exit 3", id="bad", max_retries=1)
            queuectl_spool.drain(fail_on_dead=True)

        def test_not_wanted(queuectl_spool):
            queuectl_spool.enqueue("exit 3", id="bad")
            [result] = queuectl_spool.drain()
            assert (result.state, result.exit_code, result.attempts) == ("dead", 3, 3)
    """)

    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*job bad is dead: exit code 3", "*oh no, the disk"])
    assert "testing.py" not in done.stdout.str(), "the failure is shown in the user's test"


def test_the_plugin_loads_nothing_until_it_is_asked(run):
    done = run("""
        import sys

        def test_nothing():
            assert {name for name in sys.modules if name.startswith("queuectl")} == {"queuectl", "queuectl.pytest_plugin"}
    """)

    done.assert_outcomes(passed=1)


def test_pytest_finds_the_plugin_by_itself():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"queuectl": "queuectl.pytest_plugin"}

    for point in importlib.metadata.entry_points(
        group="pytest11", name="queuectl"
    ):  # installed before there was one: none
        assert point.load().queuectl_spool


def test_delayed_jobs_stay_where_they_are(under_test):
    under_test.enqueue("true", id="now")
    under_test.enqueue("true", id="later", delay="1h")

    assert [result.id for result in under_test.drain(count=2)] == ["now"]
    assert under_test.get("later").state == "pending"
    assert under_test.drain() == []


def test_a_job_that_was_brought_back_ends_anew(under_test, queuectl):
    under_test.enqueue("false", id="a", max_retries=1)
    assert [result.id for result in under_test.drain()] == ["a"]
    queuectl("dlq", "retry", "a")

    assert [result.id for result in under_test.drain()] == ["a"]


def test_settings_are_those_of_the_workers(under_test):
    under_test.enqueue("sleep 60", id="a", max_retries=1)

    [result] = under_test.drain(settings={"timeout": "100ms", "shutdown_grace": 0})
    assert result.outcome == "timeout"


def test_a_drain_that_takes_too_long_fails_and_leaves_nothing_running(under_test, path):
    under_test.enqueue("sleep 600", id="a")

    with pytest.raises(AssertionError, match="not done after 0.5 s"):
        under_test.drain(timeout=0.5)

    assert under_test.get("a").attempts == 0
    assert os.listdir(path / "workers") == []
    assert processes.carrying({f"QUEUECTL_SPOOL={path}".encode()}) == []


def test_workers_that_cannot_start_fail_the_test(under_test, path):
    under_test.enqueue("true")
    (path / "config.json").write_text("garbage")

    with pytest.raises(AssertionError, match="damaged"):
        under_test.drain()


def test_the_environment_of_the_test_run_gives_no_settings(under_test, monkeypatch):
    under_test.enqueue("sleep 0.3", id="a", max_retries=1)
    monkeypatch.setenv("QUEUECTL_TIMEOUT", "100ms")

    assert under_test.drain()[0].is_completed


def test_it_works_without_pytest(path):
    code = f"""
import sys
from queuectl.testing import SpoolUnderTest
spool = SpoolUnderTest({str(path)!r})
spool.enqueue("true")
assert spool.drain()[0].is_completed
assert "pytest" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
