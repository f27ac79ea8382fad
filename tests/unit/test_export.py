"""--export: which variables of the enqueuer a job gets."""

import os

import pytest

from queuectl.cli.export import PERSONAL, choose
from queuectl.errors import Wrong

BYTES = os.fsdecode(b"\xff")

ENVIRON = {
    "PATH": "/bin",
    "HOME": "/home/you",
    "LANG": "C",
    "LC_ALL": "C",
    "TZ": "UTC",
    "VIRTUAL_ENV": "/v",
    "CONDA_PREFIX": "/c",
    "USER": "you",
    "SECRET": "s",
    "EMPTY": "",
    "QUEUECTL_JOB_ID": "outer",
}

USUAL = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "CONDA_PREFIX"}
EVERY = {*ENVIRON} - {"QUEUECTL_JOB_ID"}


@pytest.mark.parametrize(
    ("wanted", "names", "given"),
    [
        (None, USUAL, {}),
        ("all", EVERY, {}),
        ("ALL", EVERY, {}),
        (" All ", EVERY, {}),
        ("none", set(), {}),
        ("NONE", set(), {}),
        ("SECRET", {"SECRET"}, {}),
        ("SECRET, LANG", {"SECRET", "LANG"}, {}),
        (" SECRET ,, EMPTY, ", {"SECRET", "EMPTY"}, {}),
        ("QUEUECTL_JOB_ID", {"QUEUECTL_JOB_ID"}, {}),
        ("X=1", set(), {"X": "1"}),
        ("SECRET,X=a=b,Y=", {"SECRET"}, {"X": "a=b", "Y": ""}),
        ("ALL,X=1", EVERY, {"X": "1"}),
        ("X=1,ALL,LANG=de", EVERY - {"LANG"}, {"X": "1", "LANG": "de"}),
        ("ALL,SECRET", EVERY, {}),
        ("NONE,X=1", set(), {"X": "1"}),
    ],
)
def test_each_word_says_what_comes_along(wanted, names, given):
    chosen = choose(wanted, ENVIRON, is_foreign=False)

    assert chosen.variables == {name: ENVIRON[name] for name in names} | given
    assert chosen.left_out == []


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("SECRET,TYPO", "'TYPO' is not set here"),
        ("SECRET LANG", "'SECRET LANG' is not set here"),
        ("secret", "'secret' is not set here"),
        ("ALL,TYPO", "'TYPO' is not set here"),
        ("NONE,TYPO", "'TYPO' is not set here"),
        ("X=a,b", "'b' is not set here.*--env, if the value contains a comma"),
        ("", "names nothing"),
        (" , ", "names nothing"),
        ("ALL,NONE", "exclude each other"),
        ("=1", "has no name"),
        ("OTHER", "OTHER is not UTF-8 text"),
    ],
)
def test_a_word_that_means_nothing_is_refused(wanted, why):
    with pytest.raises(Wrong, match=f"^--export: .*{why}"):
        choose(wanted, {**ENVIRON, "OTHER": BYTES}, is_foreign=False)


@pytest.mark.parametrize(
    ("wanted", "left_out"),
    [
        (None, ["LC_NAME"]),
        ("ALL", ["OTHER", "LC_NAME", f"A{BYTES}"]),
        ("ALL,OTHER=text", ["LC_NAME", f"A{BYTES}"]),
        ("NONE", []),
        ("SECRET", []),
    ],
)
def test_what_json_cannot_hold_is_named(wanted, left_out):
    environ = {**ENVIRON, "OTHER": BYTES, "LC_NAME": f"a{BYTES}", f"A{BYTES}": "a"}

    chosen = choose(wanted, environ, is_foreign=False)

    assert chosen.left_out == left_out
    assert not {*left_out} & {*chosen.variables}


def test_another_user_gets_nothing_personal_unless_it_is_named():
    environ = {**ENVIRON, **dict.fromkeys(PERSONAL, "root's")}

    usual, every, named = (
        choose(wanted, environ, is_foreign=True).variables for wanted in (None, "ALL", "HOME,TZ")
    )

    assert {*usual} == USUAL - {"HOME"}
    assert {*every} == EVERY - {*PERSONAL}
    assert named == {"HOME": "root's", "TZ": "UTC"}
