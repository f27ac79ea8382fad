"""Every table, on terminals that are too narrow for it, and in a pipe."""

import re
import subprocess
import sys

import pexpect
import pytest

from queuectl.columns import cells
from tests.support import Workers, environment, ids_in, until

#: As long as ids may be, and different at its end only.
ID = "nightly-report-" + "x" * 96 + "-20261122T013000Z"
COMMAND = "echo 'ein langer Satz, 日本語のとても長いメッセージ' >&2; " + "# more " * 30 + "\nexit 3"
DROP = "報告" * 15

#: The words of each command that prints a table, its titles, and what a line of it shows.
TABLES = {
    "list": ("ID STATE PRI TRIES WHEN COMMAND", r"^ni.*…\S+  dead +5  +1/1 .* ago  +e"),
    "dlq list": ("ID TRIES DIED COMMAND REASON", r"^ni.*…\S+  1/1 .*Z  Rep.*  e"),
    "worker list": ("WORKER HOST PID STATE JOB HEARTBEAT", r"alive  r\S*…\S+  +\d+s$"),
    "schedule list": ("NAME STATE WHEN NEXT LAST COMMAND", r"^n.*…\w+  active  30 .* in \d+"),
    "status": ("STATE JOBS", r"^dead        1"),
    "config list": ("SETTING VALUE MEANING", r"^max_retries +3 +att"),
}


@pytest.fixture
def long(queuectl, path, tmp_path):
    """A spool whose jobs, schedules and running worker have long names."""
    words = ["--id", ID, "--name", "Report " + "報告" * 20, "--max-retries", "1"]
    queuectl("enqueue", *words, "-c", COMMAND)
    queuectl("worker", "start", "--drain")
    queuectl("schedule", "add", "n" * 100, "--cron", "30 2 * * MON-FRI", "-c", COMMAND)
    queuectl("enqueue", "--id", "r" * 128, "-c", f"until test -e {tmp_path}/go; do sleep 0.1; done")
    with Workers(path):
        until(lambda: ids_in(path, "processing"))
        queuectl("pause")
        (path / "pending" / f"{DROP}.json").write_text('{"command": "true"}')
        yield path
        (tmp_path / "go").touch()


def lines(path, words, width):
    """What a terminal of this width gets."""
    env = {**environment(path), "TERM": "xterm", "LC_ALL": "C.UTF-8", "COLUMNS": str(width)}
    line = [sys.executable, "-m", "queuectl", *words.split()]
    out = pexpect.run(" ".join(line), env=env).decode()
    return out.replace("\r", "").splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_column_hides_another(queuectl, long, width):
    for words, (head, shown) in TABLES.items():
        printed = lines(long, words, width)

        first = next(at for at, line in enumerate(printed) if line.split() == head.split())
        assert max(map(cells, printed[first:])) <= width, words
        assert any(re.search(shown, line) for line in printed), "\n".join(printed)


def test_a_pipe_gets_whole_names_and_sentences(queuectl, long):
    listed = queuectl("list")
    assert all(text in listed for text in (ID, "r" * 128, DROP, COMMAND.replace("\n", "\\n")))
    assert COMMAND.replace("\n", "\\n") in queuectl("dlq", "list")
    assert "r" * 128 in queuectl("worker", "list")
    assert "n" * 100 in queuectl("schedule", "list")
    assert "…" not in listed


def test_a_list_loads_nothing_that_only_a_terminal_or_a_refusal_needs(queuectl, path):
    queuectl("enqueue", "-c", "true")
    line = [sys.executable, "-X", "importtime", "-m", "queuectl", "list"]
    done = subprocess.run(line, env=environment(path), capture_output=True, text=True, check=True)

    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "queuectl.columns" in loaded
    assert loaded & {"rich", "shutil", "unicodedata", "difflib", "queuectl.cli.refusals"} == set()
