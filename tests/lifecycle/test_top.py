"""queuectl top, and status --watch: looking for as long as one likes, in a real terminal."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from queuectl.host import is_running
from tests.support import Workers, environment, ids_in, until
from tests.terminal import Terminal


def test_watching_on_a_pipe_prints_one_status_after_the_other_without_escape_codes(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    words = [sys.executable, "-m", "queuectl", "status", "--watch", "0.1"]
    with subprocess.Popen(
        words, env=environment(path), stdout=subprocess.PIPE, text=True
    ) as watcher:
        first = "".join(iter(watcher.stdout.readline, "\n"))
        queuectl("enqueue", "--id", "b", "-c", "true")
        until(lambda: "pending     2\n" in iter(watcher.stdout.readline, "\n"))
        watcher.terminate()

    assert "pending     1\n" in first
    assert "\x1b" not in first


def test_watching_on_a_terminal_repaints_until_it_is_interrupted(queuectl, path):
    queuectl("init")
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "queuectl", "status", "--watch"],
        env=environment(path),
        timeout=20,
        encoding="utf-8",
    )
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
    with subprocess.Popen(
        words, env=environment(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watcher:
        assert watcher.stdout.readline().startswith("spool ")
        path.rename(path.with_name("elsewhere"))
        _, said = watcher.communicate(timeout=20)

    assert watcher.returncode == 1
    assert said.startswith("queuectl: no spool at ")


@pytest.mark.parametrize("words", [("--watch", "soon"), ("--watch", "0.01"), ("--watch", "--json")])
def test_a_watch_that_cannot_be_is_refused(queuectl, words):
    queuectl("init")

    assert "--watch" in queuectl.refusal("status", *words, code=2)


@pytest.fixture
def busy(queuectl, path, tmp_path):
    """A worker, a job that runs until `go` is there, and jobs that wait for each kind of reason."""
    queuectl(
        "enqueue",
        "--id",
        "runner",
        "--name",
        "nightly",
        "-c",
        f"echo one; until test -e {tmp_path}/go; do sleep 0.05; done; echo two",
    )
    with Workers(path, "--set", "backoff_base=1000"):
        until(lambda: ids_in(path, "processing") == ["runner"])
        queuectl("enqueue", "--id", "later", "--delay", "2h", "-c", "true")
        queuectl("enqueue", "--id", "heldone", "--hold", "-c", "true")
        queuectl("enqueue", "--id", "next", "-c", "echo 日本語 $HOME")
        yield
        (tmp_path / "go").touch()


def test_everything_is_on_one_screen(busy, path, queuectl):
    with Terminal(path, "top") as terminal:
        terminal.shows(
            "processing 1",
            "pending 2",
            "held 1",
            "completed 0",
            "ended a minute",
            "RUNNING 1",
            "WAITING 3",
            "WORKERS 1, 1 busy",
        )

        [worker] = queuectl.json("worker", "list")
        assert worker["name"] in terminal.line("runs runner")
        assert re.search(
            r"> runner +processing +p5 +1/3 +\d:\d\d +nightly: echo one;", terminal.line("echo one")
        )
        assert re.search(
            r"  next +pending +p5 +0/3 +ready \d+s +echo 日本語 \$HOME", terminal.line("next")
        )
        assert re.search(r"  later +pending +p5 +0/3 +due in 1h +true", terminal.line("later"))
        assert re.search(r"  heldone +held +p5 +0/3 +held +true", terminal.line("heldone"))
        assert "1 wait for their time" in terminal.text


def test_a_log_is_followed_while_it_grows_and_into_the_next_job(busy, path, tmp_path):
    with Terminal(path, "top") as terminal:
        terminal.shows("> runner")
        terminal.press("\r")
        terminal.shows("log of runner, processing, attempt 1, stdout", "one")
        (tmp_path / "go").touch()
        terminal.shows("two", "log of runner, completed")
        terminal.press("\t")
        terminal.shows("stderr: nothing")
        terminal.press("q")
        terminal.shows("completed 2", "RUNNING 0")


def test_a_log_shows_the_end_and_scrolls_back(queuectl, path):
    queuectl(
        "enqueue", "--id", "a", "--max-retries", "1", "-c", "seq 1000 | sed s/^/line-/ >&2; exit 3"
    )
    queuectl("worker", "start", "--drain")
    with Terminal(path, "top", lines=12) as terminal:
        terminal.shows("DEAD 1", "exit code 3")
        terminal.press("l")
        terminal.shows("stderr", "line-1000", "at its end")
        terminal.press("k", "k")
        terminal.hides("line-1000")
        terminal.shows("line-998", "2 lines before its end")
        terminal.press("g")
        terminal.shows("line-1\n")
        terminal.press("G")
        terminal.shows("line-1000")


def test_a_job_is_cancelled_only_after_a_yes(busy, path):
    with Terminal(path, "top") as terminal:
        terminal.shows("> runner", "  next")
        terminal.press("\x1bOB")
        terminal.shows("> next")
        terminal.press("c")
        terminal.shows("cancel next?")
        terminal.press("n")
        terminal.hides("cancel next?")
        assert "next" in ids_in(path, "pending")
        terminal.press("c", "y")
        terminal.shows("next cancelled", "dead 1", "cancelled before it ran")
        terminal.press("g", "c", "y")
        terminal.shows("runner is running and has been told to end", "dead 2")
    assert ids_in(path, "dead") == ["next", "runner"]


@pytest.mark.parametrize(("no_color", "is_colourful"), [("", True), ("1", False)])
def test_colours_are_shown_unless_they_are_forbidden_and_an_empty_word_forbids_nothing(
    queuectl, path, no_color, is_colourful
):
    queuectl("enqueue", "--id", "a", "-c", "true")
    queuectl("cancel", "a")
    with Terminal(path, "top", NO_COLOR=no_color) as terminal:
        terminal.shows("> a", "DEAD 1")
        assert ("\x1b[31m" in terminal.raw) == is_colourful


def test_a_dead_job_is_retried_and_a_refusal_is_a_line(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    queuectl("cancel", "a")
    with Terminal(path, "top") as terminal:
        terminal.shows("> a", "DEAD 1")
        terminal.press("r")
        terminal.shows("a pending", "WAITING 1")
        terminal.press("r")
        terminal.shows("job a is pending; only a failed or a dead one is retried")
    assert ids_in(path, "pending") == ["a"]


def test_jobs_are_held_and_released_and_the_spool_paused_and_resumed(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    with Terminal(path, "top") as terminal:
        terminal.shows("> a", "no worker is alive")
        terminal.press("h")
        terminal.shows("a held", "held 1")
        terminal.press("h")
        terminal.shows("a released", "pending 1")
        terminal.press("p")
        terminal.shows("paused: no job begins")
        until(lambda: re.search("top.*  paused", terminal.text))
        assert (path / "paused").exists()
        terminal.press("p")
        terminal.shows("resumed")
        until(lambda: not re.search("top.*  paused", terminal.text))
    assert not (path / "paused").exists()


def test_what_happened_to_a_job_meanwhile_is_no_surprise(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    with Terminal(path, "top") as terminal:
        terminal.shows("> a")
        os.kill(child_of(terminal.process.pid), signal.SIGSTOP)
        queuectl("worker", "start", "--drain")
        terminal.press("h")
        terminal.shows("job a is completed; only one that waits can be held")
        os.kill(child_of(terminal.process.pid), signal.SIGCONT)
        terminal.shows("completed 1", "WAITING 0")


def child_of(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def test_only_jobs_whose_id_or_name_contains_a_text_are_shown(queuectl, path):
    for id, name in (("alpha", "x"), ("beta", "Nightly"), ("gamma", "x")):
        queuectl("enqueue", "--id", id, "--name", name, "-c", "true")
    with Terminal(path, "top") as terminal:
        terminal.shows("WAITING 3")
        terminal.press("/", "g", "A", "m")
        terminal.shows("/gAm", "WAITING 1 of 3", "> gamma")
        terminal.press("\x7f" * 3, *"nightly", "\r")
        terminal.shows("only 'nightly'", "> beta", "WAITING 1 of 3")
        terminal.press("?")
        terminal.shows("its log, as it grows")
        terminal.press(" ", "\x1b")
        terminal.shows("WAITING 3", "alpha", "beta", "gamma")


ENDS = {
    "q": (lambda terminal: terminal.press("q"), 0),
    "ctrl-c": (lambda terminal: terminal.process.sendintr(), 130),
    "term": (lambda terminal: terminal.process.kill(signal.SIGTERM), 143),
    "hup": (lambda terminal: terminal.process.kill(signal.SIGHUP), 129),
    "lookout": (lambda terminal: os.kill(child_of(terminal.process.pid), signal.SIGKILL), 1),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_terminal_is_left_as_it_was(queuectl, path, end):
    queuectl("enqueue", "--id", "a", "-c", "true")
    how, code = ENDS[end]
    with Terminal(path, "top") as terminal:
        terminal.shows("> a")
        child = child_of(terminal.process.pid)

        how(terminal)

        assert terminal.ends() == code
        assert terminal.is_as_before()
        assert "Traceback" not in terminal.raw
        assert ("has died" in terminal.raw) == (end == "lookout")
        until(lambda: not is_running(child))


def test_the_terminal_is_left_as_it_was_by_an_exception(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    code = "import queuectl.cli, queuectl.cli.top as t; t.Top._press = lambda *_: 1 / 0; queuectl.cli.main()"
    with Terminal(path, "top", program=("-c", code)) as terminal:
        terminal.shows("> a")
        terminal.press("x")
        assert terminal.ends() == 1
        assert terminal.is_as_before()
        assert terminal.raw.rindex("ZeroDivisionError") > terminal.raw.rindex("\x1b[?1049l")


def test_a_closed_terminal_is_the_end(queuectl, path):
    queuectl("init")
    with Terminal(path, "top") as terminal:
        terminal.shows("WAITING 0")
        child = child_of(terminal.process.pid)

        terminal.process.close(force=False)

        assert terminal.process.exitstatus == 129
        until(lambda: not is_running(child))


def test_the_lookout_ends_when_top_is_killed(queuectl, path):
    queuectl("init")
    with Terminal(path, "top") as terminal:
        terminal.shows("WAITING 0")
        child = child_of(terminal.process.pid)

        terminal.process.kill(signal.SIGKILL)

        until(lambda: not is_running(child))


def test_a_terminal_may_become_very_small_and_large_again(busy, path):
    with Terminal(path, "top") as terminal:
        terminal.shows("> runner")
        for lines, columns in ((1, 1), (3, 200), (40, 3), (2, 7), (5, 21)):
            terminal.resize(lines, columns)
            terminal.press("j", "l", "k", "q", "?", "x")
        terminal.shows("queuectl top")
        terminal.resize(50, 140)
        terminal.press("g")
        terminal.shows("> runner", "heldone", "? help", "WORKERS 1")
        terminal.press("c")
        terminal.shows("cancel runner?")
        terminal.resize(30, 100)
        terminal.shows("cancel runner?")
        terminal.press("y")
        terminal.shows("told to end")


def test_a_spool_that_goes_away_is_said_and_one_that_comes_back_is_shown(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    with Terminal(path, "top") as terminal:
        terminal.shows("> a")
        path.rename(path.with_name("elsewhere"))
        terminal.shows("no spool at")
        terminal.press("h")
        until(lambda: "no spool at" in terminal.text.splitlines()[-1])
        path.with_name("elsewhere").rename(path)
        queuectl("enqueue", "--id", "b", "-c", "true")
        terminal.shows("WAITING 2")
        assert not path.with_name("elsewhere").exists()


def tree(path):
    return {
        str(file): (file.lstat().st_mtime_ns, file.lstat().st_size)
        for file in [path, *path.rglob("*")]
    }


def test_looking_changes_nothing(queuectl, path):
    queuectl("enqueue", "--id", "a", "--max-retries", "1", "-c", "echo hi; exit 1")
    queuectl("worker", "start", "--drain")
    queuectl("enqueue", "--id", "b", "-c", "true")
    before = tree(path)
    with Terminal(path, "top") as terminal:
        terminal.shows("DEAD 1", "> b")
        terminal.press("j", "l")
        terminal.shows("hi")
        terminal.press("q", "/", "b", "\r")
        terminal.shows("WAITING 1")
        terminal.press("c", "n", "q")
        assert terminal.ends() == 0
    assert tree(path) == before


def test_without_a_terminal_or_a_spool_it_is_refused(queuectl, path):
    assert "no spool at" in Terminal.refusal(path, "top")
    queuectl("init")
    assert "status --watch" in queuectl.refusal("top", code=1)
    assert "cannot paint a terminal of the kind 'dumb'" in Terminal.refusal(
        path, "top", TERM="dumb"
    )
    assert "cannot paint a terminal of the kind 'no-such'" in Terminal.refusal(
        path, "top", TERM="no-such"
    )
