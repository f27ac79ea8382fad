"""Captures: what is printed is in the log, whatever a command does to its output."""

import errno
import os
import subprocess

import pytest

from queuectl import capture as module
from queuectl import disk
from queuectl.capture import Capture, Stream
from tests.support import until


@pytest.fixture
def capture():
    capture = Capture(Stream(1))
    yield capture
    capture.drop()


def begin(capture, path, tail=10, limit=0):
    """Begin a run; what its command has as stdout."""
    capture.begin((path and str(path),), tail, limit)
    writer = os.dup(capture.actions()[0][1])
    capture.started()
    return writer


def printed(capture, path, data, **limits):
    """A run that prints `data`, and ends."""
    writer = begin(capture, path, **limits)
    os.write(writer, data)
    os.close(writer)
    capture.finish({})


def test_what_is_printed_is_in_the_log_and_its_end_is_kept(capture, tmp_path):
    printed(capture, tmp_path / "a.1.out", b"hello\n", tail=3)

    assert (tmp_path / "a.1.out").read_bytes() == b"hello\n"
    assert (tmp_path / "a.1.out").stat().st_mode & 0o777 == 0o600
    assert capture.tails() == [b"lo\n"]
    assert capture.loss() == (0, "")


def test_a_run_that_prints_nothing_leaves_no_log(capture, tmp_path):
    printed(capture, tmp_path / "a.1.out", b"")

    assert os.listdir(tmp_path) == []
    assert capture.tails() == [b""]


def test_the_end_that_is_kept_is_put_together_from_small_pieces(capture, tmp_path):
    writer = begin(capture, tmp_path / "a.1.out", tail=5)
    for piece in (b"ab", b"cd", b"ef"):
        os.write(writer, piece)
        assert capture.drain() == 2
    os.close(writer)
    capture.finish({})

    assert capture.tails() == [b"bcdef"]
    assert (tmp_path / "a.1.out").read_bytes() == b"abcdef"


def test_what_has_come_is_in_the_log_while_the_command_runs(capture, tmp_path):
    writer = begin(capture, tmp_path / "a.1.out")
    assert capture.drain() == 0
    os.write(writer, b"so far")
    assert capture.drain() == 6

    assert (tmp_path / "a.1.out").read_bytes() == b"so far"
    os.close(writer)


def test_more_than_a_pipe_holds_is_moved_piece_by_piece(capture, tmp_path):
    writer = begin(capture, tmp_path / "a.1.out")
    with subprocess.Popen(["head", "-c", "1000000", "/dev/zero"], stdout=writer) as command:
        os.close(writer)
        while command.poll() is None:
            capture.drain()
    capture.finish({})

    assert (tmp_path / "a.1.out").stat().st_size == capture.printed == 1_000_000


def test_the_log_of_an_earlier_attempt_of_this_number_is_gone(capture, tmp_path):
    log = tmp_path / "a.1.out"
    log.write_text("old and longer")
    printed(capture, log, b"")
    assert not log.exists()

    log.write_text("old and longer")
    printed(capture, log, b"new")
    assert log.read_bytes() == b"new"


def test_no_run_gets_what_another_has_printed(capture, tmp_path):
    for name in ("a.1.out", "b.1.out"):
        printed(capture, tmp_path / name, name.encode())

    assert [(tmp_path / name).read_text() for name in sorted(os.listdir(tmp_path))] == [
        "a.1.out",
        "b.1.out",
    ]


def test_output_beyond_the_limit_is_counted_and_not_kept(capture, tmp_path):
    printed(capture, tmp_path / "a.1.out", b"0123456789", limit=4)

    assert capture.is_over()
    assert (tmp_path / "a.1.out").read_bytes() == b"0123"

    printed(capture, tmp_path / "b.1.out", b"0123", limit=4)
    assert not capture.is_over()


@pytest.mark.parametrize("limit", [0, 8])
def test_a_background_process_goes_on_printing_into_the_log_up_to_the_limit(
    capture, tmp_path, limit
):
    writer = begin(capture, tmp_path / "a.1.out", limit=limit)
    os.write(writer, b"soon ")
    capture.finish({})
    os.write(writer, b"late")
    os.close(writer)

    expected = b"soon late" if not limit else b"soon lat"
    until(lambda: (tmp_path / "a.1.out").read_bytes() == expected)
    os.wait()


def test_a_background_process_that_floods_its_output_does_not_hold_up_the_run(capture, tmp_path):
    writer = begin(capture, tmp_path / "a.1.out")
    with subprocess.Popen(["yes"], stdout=writer) as flood:
        os.close(writer)
        capture.finish({})
        flood.kill()
    os.wait()


def test_output_that_goes_nowhere_is_kept_to_its_end(capture):
    printed(capture, None, b"what a hook says", tail=4)

    assert capture.tails() == [b"says"]
    assert capture.printed == 16


def refuse(code):
    def act(*_):
        raise OSError(code, os.strerror(code))

    return act


@pytest.mark.parametrize("call", ["create", "put"])
def test_a_disk_without_room_costs_output_and_stops_no_command(
    capture, tmp_path, monkeypatch, call
):
    writer = begin(capture, tmp_path / "a.1.out")
    with monkeypatch.context() as patch:
        patch.setattr(disk, call, refuse(errno.ENOSPC))
        os.write(writer, b"lost ")
        capture.drain()
    os.write(writer, b"too")  # a log with a gap would mislead
    os.close(writer)
    capture.finish({})

    assert capture.loss() == (8, f"No space left on device: {tmp_path}/a.1.out")
    assert capture.tails() == [b"lost too"]
    printed(capture, tmp_path / "b.1.out", b"fine")
    assert capture.loss() == (0, "")


def test_output_leaves_the_last_part_of_a_disk_to_records(capture, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROOM_STEP", 10)
    room = [1 << 30]
    monkeypatch.setattr(disk, "room", lambda _: (room[0], 1 << 40))
    writer = begin(capture, tmp_path / "a.1.out")
    os.write(writer, b"there is room\n")
    capture.drain()
    room[0] = module.RESERVE - 1
    os.write(writer, b"there is none\n")
    os.close(writer)
    capture.finish({})

    assert (tmp_path / "a.1.out").read_bytes() == b"there is room\n"
    assert capture.loss()[0] == 14


def test_a_directory_that_somebody_removed_is_made_again(capture, tmp_path):
    printed(capture, tmp_path / "logs" / "a.1.out", b"kept")

    assert (tmp_path / "logs" / "a.1.out").read_bytes() == b"kept"


def test_a_run_whose_command_was_not_started_leaves_nothing(capture, tmp_path):
    before = os.listdir("/proc/self/fd")
    capture.begin((str(tmp_path / "a.1.out"),), 10, 0)
    capture.finish({})

    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_runs_leave_no_descriptor_open(capture, tmp_path):
    printed(capture, tmp_path / "a.1.out", b"a")
    before = len(os.listdir("/proc/self/fd"))
    for data in (b"", b"b", b""):
        printed(capture, tmp_path / "b.1.out", data)

    assert len(os.listdir("/proc/self/fd")) == before
