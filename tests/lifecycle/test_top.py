"""queuectl top, and status --watch: looking for as long as one likes, in a real terminal."""

import subprocess
import sys

import pexpect
import pytest

from tests.support import environment, until


def test_watching_on_a_pipe_prints_one_status_after_the_other_without_escape_codes(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    words = [sys.executable, "-m", "queuectl", "status", "--watch", "0.1"]
    with subprocess.Popen(words, env=environment(path), stdout=subprocess.PIPE, text=True) as watcher:
        first = "".join(iter(watcher.stdout.readline, "\n"))
        queuectl("enqueue", "--id", "b", "-c", "true")
        until(lambda: "pending     2\n" in iter(watcher.stdout.readline, "\n"))
        watcher.terminate()

    assert "pending     1\n" in first
    assert "\x1b" not in first


def test_watching_on_a_terminal_repaints_until_it_is_interrupted(queuectl, path):
    queuectl("init")
    terminal = pexpect.spawn(sys.executable, ["-m", "queuectl", "status", "--watch"], env=environment(path), timeout=20, encoding="utf-8")
    try:
        for _ in range(2):
            terminal.expect_exact("\x1b[H\x1b[2J")
            terminal.expect_exact("pending     0")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
    assert "Traceback" not in terminal.before
    assert terminal.exitstatus == 130


def test_watching_ends_when_the_spool_is_gone(queuectl, path):
    queuectl("init")
    words = [sys.executable, "-m", "queuectl", "status", "--watch", "0.1"]
    with subprocess.Popen(words, env=environment(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout.readline().startswith("spool ")
        path.rename(path.with_name("elsewhere"))
        _, said = watcher.communicate(timeout=20)

    assert watcher.returncode == 1
    assert said.startswith("queuectl: no spool at ")


@pytest.mark.parametrize("words", [("--watch", "soon"), ("--watch", "0.01"), ("--watch", "--json")])
def test_a_watch_that_cannot_be_is_refused(queuectl, words):
    queuectl("init")

    assert "--watch" in queuectl.refusal("status", *words, code=2)
