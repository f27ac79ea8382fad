"""The phases of a supervisor, and what every signal does: as docs/operations.md has it."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl import liveness, phase
from queuectl.phase import INTERVAL, Phase, Requests

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"

#: Lets each signal come once to a process that hears signals as supervisors do, and prints what became of it.
TRIAL = """
import json, os, resource, signal
from queuectl import phase, signals

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
found = {}
for number in signal.valid_signals():
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signals.wake_pipe()
        requests = phase.Requests()
        phase.hear(requests.by_signal)
        os.kill(os.getpid(), number)
        os._exit(10 + requests.phase)
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    found[int(number)] = (
        "stops" if os.WIFSTOPPED(status)
        else "dies" if os.WIFSIGNALED(status)
        else ["nothing", "finishes", "ends"][os.WEXITSTATUS(status) - 10]
    )
print(json.dumps(found))
"""

#: How what a row of the table says begins, and what that is in the trial.
SAYS = {
    "finishes": "finishes",
    "ends": "ends",
    "is ignored": "nothing",
    "does nothing": "nothing",
    "stops": "stops",
    "kills": "dies",
}


def table():
    """What docs/operations.md says of each signal."""
    section = OPERATIONS.read_text().split("\n## Signals\n")[1].split("\n## ")[0]
    found = {}
    for names, text in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", section, re.MULTILINE):
        [what] = [SAYS[start] for start in SAYS if text.startswith(start)]
        for name in re.findall(r"`([A-Z0-9]+)`", names):
            if name == "RTMIN":
                found |= dict.fromkeys(range(signal.SIGRTMIN, signal.SIGRTMAX + 1), what)
            elif name != "RTMAX":
                found[int(signal.Signals["SIG" + name])] = what
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the table is of Linux")
def test_every_signal_does_what_the_table_of_the_docs_says():
    done = subprocess.run(
        [sys.executable, "-c", TRIAL], capture_output=True, text=True, timeout=50, check=True
    )

    assert {int(number): what for number, what in json.loads(done.stdout).items()} == table()


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock, in a list, and a terminal."""
    clock = [1000.0]
    monkeypatch.setattr(phase.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(phase, "_has_terminal", lambda: True)
    return clock


def test_an_int_that_a_wrapper_passes_on_is_no_second_ctrl_c(clock):
    requests = Requests()
    for _ in range(3):
        requests.by_signal(signal.SIGINT)
        clock[0] += 0.02

    assert requests.phase == Phase.FINISHING

    clock[0] += INTERVAL
    requests.by_signal(signal.SIGINT)

    assert requests.phase == Phase.ENDING


def test_a_term_is_no_first_ctrl_c(clock):
    requests = Requests()
    requests.by_signal(signal.SIGTERM)
    clock[0] += 10
    requests.by_signal(signal.SIGINT)

    assert requests.phase == Phase.FINISHING


def test_without_a_terminal_no_int_is_a_hard_request(clock, monkeypatch):
    monkeypatch.setattr(phase, "_has_terminal", lambda: False)
    requests = Requests()
    for _ in range(3):
        requests.by_signal(signal.SIGINT)
        clock[0] += 10

    assert requests.phase == Phase.FINISHING


def test_a_weaker_request_leaves_a_stronger_one():
    requests = Requests()
    assert requests.phase == Phase.RUNNING

    requests.by_signal(signal.SIGQUIT)
    requests.ask(Phase.FINISHING)
    requests.by_signal(signal.SIGTERM)

    assert requests.phase == Phase.ENDING


@pytest.mark.parametrize("asked", [[False], [True], [False, True], [True, False]])
def test_a_request_by_file_leaves_a_stronger_one(spool, asked):
    for now in asked:
        liveness.ask_to_stop(spool, "boss", now=now)

    assert liveness.is_asked_to_stop(spool, "boss") is any(asked)
