"""Errors of odd kinds in everything that a supervisor does: it goes on, says each once, and never spins."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from queuectl import chores as room
from queuectl import fleet
from queuectl.log import Log
from queuectl.supervisor import Supervisor
from tests.support import environment, ids_in, until

#: A supervisor in which each function of these classes fails the first times that it is called once the workers are up.
SCRIPT = """
import inspect, os, sys, functools
from queuectl import Spool, chores, supervisor
from queuectl.crew import Crew
from queuectl.dealer import Dealer
from queuectl.flusher import Flusher
from queuectl.janitor import Janitor
from queuectl.log import Log
from queuectl.notify import Notifier
from queuectl.porter import Porter
from queuectl.pulse import Pulse
from queuectl.ticker import Ticker
from queuectl.watcher import Sentry

ERRORS = [
    ModuleNotFoundError("No module named 'gone'"), KeyError("to"), RecursionError("too deep"), ZeroDivisionError("x"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"), AssertionError(), MemoryError(), OverflowError("far"), FileNotFoundError(2, "gone"),
]
CLASSES = [
    chores.Chores, supervisor.Supervisor, Crew, Dealer, Flusher, Janitor, Notifier, Porter, Pulse, Ticker, Sentry,
]
# What catches errors, what runs before the first worker or in it, and notes of what has ended, which call nothing.
SPARED = {
    "do", "_complain", "_end", "warn", "_is_spool_there", "rests_until", "begin", "end", "run", "_work", "_goes_on", "_go_round", "_close",
    "ended", "_understand", "descriptors", "finish", "drop", "_private",
}
chores.REST = supervisor.BLIND = 0.01
boss, calls = os.getpid(), {}
is_up = False

def failing(name, real):
    @functools.wraps(real)
    def fail(*args, **more):
        if is_up and os.getpid() == boss:
            calls[name] = calls.get(name, 0) + 1
            if calls[name] <= 2:
                if calls[name] == 2:
                    os.write(1, f"{name}\\n".encode())
                raise ERRORS[(len(calls) + calls[name]) % len(ERRORS)]
        return real(*args, **more)
    return fail

for kind in CLASSES:
    for name, real in list(vars(kind).items()):
        if inspect.isfunction(real) and name not in SPARED and not name.startswith("__"):
            setattr(kind, name, failing(f"{kind.__name__}.{name}", real))

def ready():
    global is_up
    is_up = True
    raise KeyError("ready")

spool = Spool(sys.argv[1], flags={"heartbeat_interval": 0.5, "poll_interval": 0.1})
supervisor.Supervisor(spool, 1, Log(2, "json")).run(ready)
"""


@pytest.fixture
def odd(spool, path, tmp_path):
    """That supervisor, and the names of what has failed as often as it does."""
    (path / "hooks").mkdir(0o700)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(path)],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment(path),
        )
    os.set_blocking(process.stdout.fileno(), False)
    failed = set()

    def look():
        failed.update((process.stdout.read() or b"").decode().split())
        assert process.poll() is None, (tmp_path / "log").read_text()
        return failed

    yield process, look
    process.stdout.close()
    process.kill()
    process.wait()


def steps(supervisor):
    """What is done from time to time whatever happens, each chore among it."""
    loop = "_staff _reap _tend _deal _sleep _pause _listen"
    return {
        *(chore.__qualname__ for chore in supervisor.chores._at_heartbeat),
        *(f"Supervisor.{name}" for name in loop.split()),
        *[
            "Chores.tend",
            "Chores.wakes_at",
            "Dealer.deal",
            "Dealer._look",
            "Sentry.arm",
            "Flusher.flush",
        ],
        *["Ticker.tick", "Porter.tend", "Pulse.beat", "Notifier.beat", "Crew.known"],
    }


@pytest.fixture
def supervisor(spool):
    null = os.open(os.devnull, os.O_WRONLY)
    yield Supervisor(spool, 1, Log(null, "text"))
    os.close(null)


def have_run(spool):
    """Whether all jobs have ended; one more comes then."""
    have_ended = not any(spool.count(state) for state in ("pending", "processing", "failed"))
    if have_ended:
        spool.enqueue("true")
    return have_ended


def test_whatever_fails_in_whatever_way_the_supervisor_goes_on(
    spool, queuectl, path, tmp_path, odd, supervisor
):
    process, failed = odd
    until(lambda: have_run(spool) and failed() >= steps(supervisor))
    queuectl("enqueue", "--id", "a", "-c", "true")
    until(lambda: "a" in ids_in(path, "completed"))

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    warnings = [event["reason"] for event in events if event["event"] == "warning"]
    assert any(
        "ModuleNotFoundError: No module named 'gone' (<string>:" in text for text in warnings
    )
    assert "worker_died" not in {event["event"] for event in events}


def broken():
    raise KeyError("x")


def test_after_a_failure_a_supervisor_rests_also_when_something_is_due(supervisor, monkeypatch):
    monkeypatch.setattr(room, "REST", 3600.0)
    assert supervisor._pause() < 1

    supervisor.chores.do(broken)

    assert supervisor._pause() > 3000


def test_a_complaint_is_said_once_until_it_comes_back_after_a_success(supervisor, monkeypatch):
    said, fails = [], [True]
    monkeypatch.setattr(supervisor.chores, "warn", said.append)

    def act():
        if fails[0]:
            raise KeyError("x")

    for _ in range(3):
        supervisor.chores.do(act)
    assert len(said) == 1
    assert said[0].startswith("KeyError: 'x' (test_odd_errors.py:")

    fails[0] = False
    supervisor.chores.do(act)
    fails[0] = True
    supervisor.chores.do(act)
    assert len(said) == 2


FLEET = """
import os, sys
from queuectl import fleet

fleet.BLIND = 0.01
real, calls = fleet.Fleet._{step}, []

def fail(*words):
    calls.append(1)
    if len(calls) < 4:
        raise RecursionError("odd")
    return real(*words)

fleet.Fleet._{step} = fail

def supervise(turns, ready):
    ready()
    turns.hear()

def odd(turns, ready):
    ready()
    raise KeyError("to")

fleet.Fleet(1, [supervise, odd]).run(lambda: os.write(1, b"ready"))
"""


@pytest.mark.parametrize("step", ["sleep", "reap", "go_round"])
def test_a_fleet_goes_on_and_says_of_what_a_supervisor_died(step):
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FLEET).replace("{step}", step)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        said = b""
        while b"to" not in said:
            said += process.stderr.readline()
        process.kill()
    assert said.count(b"RecursionError: odd") <= 1
    assert fleet.BLIND > 0
