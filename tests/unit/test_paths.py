"""Paths that people write: what each means, and which are refused."""

import os
import re
from pathlib import Path

import pytest

from queuectl import paths
from queuectl.errors import SpoolUnusable
from queuectl.layout import Layout

STRANGER = 4_000_000_000


class Named:
    """A path-like object whose path is bytes."""

    def __fspath__(self):
        return b"/srv/jobs"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/jobs", "/srv/jobs"),
        ("/srv/./jobs/", "/srv/jobs"),
        ("~", "/home/you"),
        ("~/jobs", "/home/you/jobs"),
        ("~root/jobs", os.path.expanduser("~root/jobs")),
        (Path("~/jobs"), "/home/you/jobs"),
        (b"/srv/jobs", "/srv/jobs"),
        (Named(), "/srv/jobs"),
    ],
)
def test_a_path_means_one_place(path, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/you")

    assert paths.absolute(path) == Layout(path).path == expected


def test_a_home_that_only_the_system_knows_is_found(monkeypatch):
    monkeypatch.delenv("HOME")

    assert paths.absolute("~/jobs") == os.path.expanduser("~/jobs")


@pytest.mark.parametrize(
    ("path", "home", "why"),
    [
        ("", "/home/you", "the path is empty"),
        (b"", "/home/you", "the path is empty"),
        ("/srv/a\0b", "/home/you", "NUL"),
        ("~nosuchuser/jobs", "/home/you", "no user 'nosuchuser'; write ./~nosuchuser/jobs"),
        ("~/jobs", "home", "HOME is 'home', which is no absolute path; set HOME"),
        ("~/jobs", "", "HOME is '', which is no absolute path; set HOME"),
        ("~/jobs", "~", "HOME is '~', which is no absolute path; set HOME"),
    ],
)
def test_a_path_that_means_no_place_is_refused(path, home, why, monkeypatch):
    monkeypatch.setenv("HOME", home)

    with pytest.raises(ValueError, match=re.escape(why)):
        paths.absolute(path)
    with pytest.raises(SpoolUnusable, match=f"{re.escape(why)}.*, or use --spool$"):
        Layout(path)


def test_a_user_without_a_home_is_told_to_set_one(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: STRANGER)

    with pytest.raises(SpoolUnusable, match=f"user {STRANGER} has no home.*; set HOME, or use"):
        Layout("~/.queuectl")


@pytest.mark.parametrize("path", [None, 5, 1.5, True, ["/srv"], ("/srv",), object(), print])
def test_what_is_no_path_is_named(path):
    with pytest.raises(TypeError, match="^path: "):
        Layout(path)


@pytest.fixture
def current(tmp_path, monkeypatch):
    """A directory of releases, and the link `current` to one of them, in which we are."""
    (tmp_path / "releases/1/sub").mkdir(parents=True)
    (tmp_path / "releases/shared").mkdir()
    (tmp_path / "current").symlink_to("releases/1")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    return tmp_path / "current"


def test_the_current_directory_is_what_the_shell_calls_it(current):
    assert paths.here() == str(current)
    assert paths.absolute(".") == str(current)
    assert paths.absolute("sub") == str(current / "sub")
    assert paths.absolute("not/yet/there") == str(current / "not/yet/there")


@pytest.mark.parametrize(
    "shown",
    [
        None,
        "",
        "current",
        "/",
        "/no/such/directory",
        "{tmp}/releases/../current",
        "{tmp}/./current",
        "{tmp}/releases/shared",
    ],
)
def test_a_wrong_pwd_is_not_believed(current, shown, monkeypatch):
    if shown is None:
        monkeypatch.delenv("PWD")
    else:
        monkeypatch.setenv("PWD", shown.format(tmp=current.parent))

    assert paths.here() == os.getcwd() == str(current.parent / "releases/1")


def test_a_step_up_leads_where_the_kernel_says(current):
    assert paths.absolute("sub/..") == str(current)
    assert paths.absolute("../shared") == str(current.parent / "releases/shared")


def test_a_directory_that_is_gone_is_named(current):
    for path in (current / "sub", current.parent / "releases/1"):
        path.rmdir()

    with pytest.raises(ValueError, match="the directory that you are in is gone"):
        paths.here()
    with pytest.raises(SpoolUnusable, match="is gone; go to another, or use --spool"):
        Layout("jobs")
    assert Layout("/srv/jobs").path == "/srv/jobs"
