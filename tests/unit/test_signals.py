"""Signals: none is lost, none interrupts, whatever way the system has to wait for them."""

import errno
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

from queuectl import crew, executor, host, signals
from queuectl.capture import Capture, Stream
from queuectl.signals import Listener
from tests.support import until

LONG = 600.0


def alone(body):
    """A test in a process of its own: in one with other threads these would get our signals, which no worker has."""

    @pytest.mark.parametrize("takes", [True, False], ids=["taken", "delivered"])
    def test(takes):
        if takes and not hasattr(signal, "sigtimedwait"):
            pytest.skip("no signal can be taken on this system")
        pid = os.fork()
        if not pid:
            live(body, takes)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    return test


def live(body, takes):
    """The life of that process."""
    code = 1
    try:
        signals._TAKES = takes
        heard = []
        for number in signals.CALLS[1:]:
            signal.signal(number, lambda number, _: heard.append(number))
        signal.alarm(50)
        body(Listener(), heard)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def me(number):
    os.kill(os.getpid(), number)


def order(command, timeout=0.0):
    output = Capture(Stream(1, 2))
    output.begin((None,), 0, 0)
    return executor.Order(command, "/", {}, None, output, timeout, 0.0, lambda: None)


@alone
def test_a_signal_that_came_before_the_wait_ends_it_at_once(listener, heard):
    me(signal.SIGUSR1)
    listener.hear(LONG)

    assert heard == [signal.SIGUSR1]


@alone
def test_a_wait_without_a_signal_ends_in_its_time(listener, heard):
    listener.hear(0.01)

    assert heard == []


@alone
def test_all_signals_are_heard_one_by_one(listener, heard):
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGQUIT):
        me(number)
    while len(heard) < 3:
        listener.hear(LONG)

    assert sorted(heard) == sorted((signal.SIGUSR1, signal.SIGTERM, signal.SIGQUIT))


@alone
def test_the_end_of_a_child_ends_the_wait(listener, heard):
    with subprocess.Popen(["true"]) as child:
        while child.poll() is None:
            listener.hear(LONG)


@alone
def test_attending_ends_when_there_is_something_to_read_or_when_a_signal_came_before(
    listener, heard
):
    reader, writer = os.pipe()
    me(signal.SIGTERM)
    assert not listener.attend(reader)
    assert heard == [signal.SIGTERM]

    os.write(writer, b"x")
    assert listener.attend(reader)
    os.close(reader)
    os.close(writer)


@alone
def test_a_command_is_run_to_its_end_and_ended_at_its_timeout(listener, heard):
    assert executor.run(order("exit 3"), listener, lambda: None).exit_code == 3

    late = order("sleep 600", timeout=0.01)._replace(grace=LONG)
    ended = executor.run(late, listener, lambda: None)
    assert (ended.cause, ended.signal) == ("timeout", signal.SIGTERM)


@alone
def test_who_wants_a_command_ended_is_heard_while_it_runs(listener, heard):
    tell = f"kill -USR1 {os.getpid()}; exec sleep 600"

    assert (
        executor.run(order(tell), listener, lambda: "cancelled" if heard else None).cause
        == "cancelled"
    )


@alone
def test_no_signal_interrupts_what_a_listener_does_where_it_can_be_taken(listener, heard):
    me(signal.SIGUSR1)
    assert heard == ([] if signals._TAKES else [signal.SIGUSR1])
    listener.hear(LONG)
    assert heard == [signal.SIGUSR1]


def test_a_signal_without_a_handler_does_what_it_would_have_done(tmp_path):
    code = "import os, signal; from queuectl.signals import Listener; l = Listener(); os.kill(os.getpid(), 10); l.hear(600)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGUSR1


@alone
def test_what_a_command_that_had_to_end_has_started_is_gone_though_it_ignores_term_and_has_no_environment(
    listener, heard
):
    with tempfile.TemporaryDirectory() as place:
        stubborn = f"trap '' TERM; echo $$ > {place}/pid; kill -USR1 {os.getpid()}; exec sleep 60"
        command = 'env -i /bin/sh -c "$STUBBORN" & wait'

        told = order(command)._replace(env={b"STUBBORN": stubborn.encode()}, grace=0.2)
        assert (
            executor.run(told, listener, lambda: "cancelled" if heard else None).cause
            == "cancelled"
        )

        child = int((Path(place) / "pid").read_text())
        until(lambda: not host.is_running(child), 5)


@pytest.fixture
def mask():
    """The signals that are blocked, as they were before the test."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield before
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_supervisor_that_cannot_fork_hears_signals_as_before(mask, monkeypatch):
    def refuse():
        raise OSError(errno.EAGAIN, "no process left")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(OSError, match="no process left"):
        crew.Crew().hire(lambda line: None)

    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


@alone
def test_who_was_stopped_beyond_the_end_of_a_wait_has_heard_nothing(listener, heard):
    for _ in range(3):
        stopper = os.fork()
        if not stopper:
            select.select([], [], [], 0.05)
            os.kill(os.getppid(), signal.SIGSTOP)
            select.select([], [], [], 0.3)
            os.kill(os.getppid(), signal.SIGCONT)
            os._exit(0)
        listener.hear(0.2)
        # Its end is a SIGCHLD, which ends a wait and means nothing else.
        assert not signals.await_blocked((signal.SIGUSR1, signal.SIGTERM), 0.2)
        os.waitpid(stopper, 0)
    assert heard == []
