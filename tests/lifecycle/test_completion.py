"""The Tab key, in a real bash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from queuectl.ids import fresh
from tests.support import environment

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(
    not (shutil.which("bash") and (BIN / "queuectl").exists()),
    reason="needs bash, and queuectl on the PATH",
)


@pytest.fixture
def offered(path, tmp_path):
    """What bash offers for the last of these words, by the function that the script defines."""

    def offered(*words, **env):
        script = """
source <(queuectl completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_queuectl_completion queuectl
printf '%s\\n' "${COMPREPLY[@]}"
"""
        done = subprocess.run(
            ["bash", "--norc", "-c", script, "bash", "queuectl", *words],
            env={**environment(path, **env), "PATH": f"{BIN}:{os.environ['PATH']}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return offered


def test_commands_and_options_are_offered(offered):
    assert offered("en") == ["enqueue"]
    assert offered("worker", "inst") == ["install"]
    assert offered("worker", "start", "--dr") == ["--drain"]
    assert "failed" in offered("list", "--state", "f")


def test_ids_are_offered_and_last(offered, queuectl):
    for id in ("alpha", "albert", "beta"):
        queuectl("enqueue", "--id", id, "-c", "true")
    queuectl("cancel", "alpha")

    assert sorted(offered("show", "al")) == ["albert", "alpha"]
    assert offered("cancel", "alpha", "b") == ["beta"]
    assert offered("wait", "la") == ["last"]
    assert sorted(offered("dlq", "retry", "")) == ["albert", "alpha", "beta"]


def test_names_of_settings_batches_and_schedules_are_offered(offered, queuectl):
    queuectl("enqueue", "--batch", "nightly", "-c", "true")
    queuectl("schedule", "add", "hourly", "--every", "1h", "-c", "true")

    assert offered("config", "set", "max_r") == ["max_retries"]
    assert offered("config", "get", "backoff-m") == ["backoff-max"]
    assert offered("list", "--batch", "n") == ["nightly"]
    assert offered("schedule", "remove", "h") == ["hourly"]


def test_the_spool_that_was_named_is_the_one_that_is_asked(offered, queuectl, tmp_path):
    other = tmp_path / "other"
    queuectl("--spool", str(other), "enqueue", "--id", "elsewhere", "-c", "true")

    assert offered("--spool", str(other), "show", "e") == ["elsewhere"]


def test_without_a_spool_nothing_is_offered_and_nothing_said(offered, path):
    assert offered("show", "a") == []
    assert not path.exists()


def test_of_very_many_ids_some_are_offered(offered, spool):
    spool.enqueue_all({"command": "true"} for _ in range(300))

    assert len(offered("show", fresh()[:2])) == 200


def test_tab_completes_an_id_at_a_prompt(queuectl, path):
    queuectl("enqueue", "--id", "a-rather-long-id", "-c", "true")
    env = {
        **environment(path),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TERM": "dumb",
        "PS1": "ready> ",
        "INPUTRC": "/dev/null",
    }
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], env=env, encoding="utf-8", timeout=30
    )
    try:
        shell.expect_exact("ready> ")
        shell.sendline('eval "$(queuectl completion bash)"; echo do""ne')
        shell.expect_exact("done\r\n")
        shell.expect_exact("ready> ")
        shell.send("queuectl show a-ra\t")
        shell.expect_exact("a-rather-long-id")
        shell.sendline("| head -n 1")
        shell.expect("id +a-rather-long-id")
    finally:
        shell.close(force=True)


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_have_scripts_that_they_can_read(queuectl, tmp_path, name):
    script = tmp_path / "script"
    script.write_text(queuectl("completion", name))

    assert "_QUEUECTL_COMPLETE" in script.read_text()
    if shutil.which(name):
        subprocess.run([name, "-n", str(script)], check=True, timeout=50)
