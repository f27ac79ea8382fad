"""Directories that a command line names or leaves out: the spool, and where a job runs."""

import os
import sys

import pytest

from tests.support import Command, ids_in


@pytest.fixture
def bare(tmp_path):
    """The command in an empty directory, without a spool in the environment. None: not set at all."""

    class Bare(Command):
        def run(self, *words, **env):
            unset = [name for name, value in env.items() if value is None]
            given = {name: value for name, value in env.items() if value is not None}
            prefix = [word for name in ["QUEUECTL_SPOOL", *unset] for word in ("-u", name)]
            return super().run(*words, prefix=["env", *prefix], cwd=tmp_path / "here", **given)

    (tmp_path / "here").mkdir()
    return Bare(tmp_path / "spool")


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["enqueue", "-c", "true"],
        ["init"],
        ["worker", "start", "--drain"],
        ["schedule", "add", "a", "--every", "1h", "-c", "true"],
    ],
)
@pytest.mark.parametrize(
    ("spool", "home", "why"),
    [
        (None, "home", "HOME is 'home', which is no absolute path; set HOME, or use --spool"),
        ("~nosuchuser/q", "/tmp", "no user 'nosuchuser'"),
        ("", "/tmp", "the path is empty"),
    ],
)
def test_no_command_makes_a_spool_where_nobody_meant_one(bare, tmp_path, words, spool, home, why):
    at = [] if spool is None else ["--spool", spool]

    assert why in bare.refusal(*at, *words, code=1, HOME=home)

    assert os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize("place", [["init", ""], ["worker", "start", "--spool", "~nosuchuser/q"]])
def test_a_place_behind_the_command_is_judged_alike(queuectl, tmp_path, place):
    queuectl.refusal(*place, code=1, cwd=tmp_path)

    assert os.listdir(tmp_path) == []


def test_an_empty_variable_is_no_wish_for_the_default(queuectl, tmp_path):
    said = queuectl.refusal("enqueue", "-c", "true", code=1, QUEUECTL_SPOOL="", HOME=str(tmp_path))

    assert "QUEUECTL_SPOOL is empty; unset it" in said
    assert os.listdir(tmp_path) == []


def test_what_needs_no_default_spool_needs_no_home(queuectl, tmp_path):
    lost = {"QUEUECTL_SPOOL": "", "HOME": "home"}

    assert "Usage" in queuectl("enqueue", "--help", **lost)
    assert "complet" in queuectl("completion", "bash", **lost)
    assert queuectl("init", str(tmp_path / "a"), **lost) == f"{tmp_path}/a\n"
    queuectl("--spool", str(tmp_path / "a"), "status", **lost)
    queuectl("worker", "start", "--drain", "--spool", str(tmp_path / "a"), **lost)


@pytest.mark.parametrize("place", ["~nosuchuser/x", ""])
def test_a_job_runs_in_no_directory_that_is_none(queuectl, place, path):
    for words in (["enqueue"], ["run"], ["schedule", "add", "a", "--every", "1h"]):
        said = queuectl.refusal(*words, "--cwd", place, "-c", "true", code=2)
        assert said.startswith(f"queuectl: --cwd {place!r}: ")
    assert not path.exists()


def test_a_job_may_run_in_a_home(queuectl):
    queuectl("enqueue", "--id", "a", "--cwd", "~/src", "-c", "true", HOME="/home/you")

    assert queuectl.json("show", "a")["cwd"] == "/home/you/src"


@pytest.fixture
def current(tmp_path):
    """The link to a release, in which commands are given."""
    (tmp_path / "releases/1/sub").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/1")
    return tmp_path / "current"


def test_a_job_runs_where_the_shell_is_even_if_that_is_a_link(queuectl, current):
    def cwd(*words):
        id = queuectl(*words, cwd=current, PWD=str(current)).split()[-1]
        return queuectl.json("show", id)["cwd"]

    assert cwd("enqueue", "-c", "true") == str(current)
    assert cwd("enqueue", "--cwd", "sub", "-c", "true") == str(current / "sub")


def test_a_schedule_outlives_the_release_in_which_it_was_made(queuectl, path, current, tmp_path):
    queuectl("schedule", "add", "a", "--every", "1h", "-c", "pwd -P", cwd=current, PWD=str(current))
    current.unlink()
    (tmp_path / "releases/1").rename(tmp_path / "releases/2")
    current.symlink_to("releases/2")

    id = queuectl("schedule", "run", "a").strip()
    queuectl("worker", "start", "--drain")

    assert ids_in(path, "completed") == [id]
    assert queuectl("logs", id) == f"{tmp_path}/releases/2\n"


def test_a_unit_is_written_with_the_paths_that_the_shell_shows(queuectl, current):
    queuectl("--spool", "jobs", "init", cwd=current, PWD=str(current))

    unit = queuectl(
        "--spool", "jobs", "worker", "install", "--user", "--print", cwd=current, PWD=str(current)
    )

    assert f"--spool {current}/jobs worker start" in unit
    assert sys.executable in unit


@pytest.mark.parametrize(
    ("env", "words", "why"),
    [
        ({"HOME": "home", "XDG_CONFIG_HOME": ""}, [], "set HOME, or --directory"),
        ({"HOME": "home", "XDG_CONFIG_HOME": "config"}, [], "set HOME, or --directory"),
        ({"HOME": "/tmp"}, ["--directory", "~nosuchuser/units"], "no user 'nosuchuser'"),
        ({"HOME": "/tmp"}, ["--directory", ""], "the path is empty"),
    ],
)
def test_a_unit_goes_to_no_place_that_nobody_meant(queuectl, tmp_path, env, words, why):
    queuectl("init")

    done = queuectl.run("worker", "install", "--user", *words, cwd=tmp_path, **env)

    assert done.returncode in (1, 2)
    assert why in done.stderr
    assert os.listdir(tmp_path) == ["spool"]
