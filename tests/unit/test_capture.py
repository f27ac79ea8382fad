"""Captures: nameless until they matter, never shared by two runs."""

import errno
import os
from pathlib import Path

import pytest

from queuectl import capture as room
from queuectl import disk
from queuectl.capture import Capture


@pytest.fixture
def capture(tmp_path):
    capture = Capture(str(tmp_path), 1)
    yield capture
    capture.close()


def begun(capture, path):
    """What a command has that may write to the capture."""
    action = capture.begin(str(path))
    return os.open(action[2], action[3]) if action[0] == os.POSIX_SPAWN_OPEN else os.dup(action[1])


def printed(capture, path, data):
    """A run that prints `data`."""
    writer = begun(capture, path)
    os.write(writer, data)
    os.close(writer)


def inode(capture):
    return os.fstat(capture._reader).st_ino


def test_what_is_printed_is_under_its_name_at_the_end_and_its_tail_is_answered(capture, tmp_path):
    printed(capture, tmp_path / "a.1.out", b"hello\n")

    assert os.listdir(tmp_path) == []
    assert capture.end(3) == b"lo\n"
    assert (tmp_path / "a.1.out").read_bytes() == b"hello\n"


def test_a_capture_that_stays_empty_leaves_no_file_and_serves_the_next_run(capture, tmp_path):
    printed(capture, tmp_path / "a.1.out", b"")
    first = inode(capture)
    assert capture.end(10) == b""

    printed(capture, tmp_path / "b.1.out", b"b")
    assert inode(capture) == first
    capture.end(10)
    assert os.listdir(tmp_path) == ["b.1.out"]


def test_a_capture_that_something_left_behind_may_write_to_serves_no_other_run(capture, tmp_path):
    writer = begun(capture, tmp_path / "a.1.out")
    assert capture.end(10) == b""

    printed(capture, tmp_path / "b.1.out", b"b")
    os.write(writer, b"late")
    os.close(writer)

    assert capture.end(10) == b"b"
    assert (tmp_path / "b.1.out").read_bytes() == b"b"


CHANGES = {
    "closed": lambda fd, _: os.fchmod(fd, 0),
    "opened to all": lambda fd, _: os.fchmod(fd, 0o666),
    "given a name": lambda fd, path: os.link(
        f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True
    ),
    "given away": lambda fd, _: os.fchown(fd, 65534, -1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_capture_that_its_command_has_changed_serves_no_other_run(capture, tmp_path, change):
    if change == "given away" and os.geteuid():
        pytest.skip("only root can give files away")
    writer = begun(capture, tmp_path / "a.1.out")
    CHANGES[change](writer, tmp_path / "mine")
    os.close(writer)
    assert capture.end(10) == b""

    printed(capture, tmp_path / "b.1.out", b"b")

    assert capture.end(10) == b"b"
    assert (tmp_path / "b.1.out").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "b.1.out").stat().st_uid == os.geteuid()
    assert change != "given a name" or (tmp_path / "mine").read_bytes() == b""


def test_a_full_capture_serves_no_other_run(capture, tmp_path):
    for name in ("a.1.out", "b.1.out"):
        printed(capture, tmp_path / name, name.encode())
        capture.end(10)

    assert [(tmp_path / name).read_text() for name in sorted(os.listdir(tmp_path))] == [
        "a.1.out",
        "b.1.out",
    ]


def test_a_capture_can_be_shown_while_the_command_runs(capture, tmp_path):
    writer = begun(capture, tmp_path / "a.1.out")
    capture.show()
    os.write(writer, b"so far")

    assert (tmp_path / "a.1.out").read_bytes() == b"so far"
    assert capture.size() == 6
    os.close(writer)


def test_a_capture_that_was_shown_and_stayed_empty_is_removed(capture, tmp_path):
    os.close(begun(capture, tmp_path / "a.1.out"))
    capture.show()

    assert capture.end(10) == b""
    assert os.listdir(tmp_path) == []


def test_the_log_of_an_earlier_attempt_of_this_number_is_gone(capture, tmp_path):
    (tmp_path / "a.1.out").write_text("old")
    printed(capture, tmp_path / "a.1.out", b"")
    capture.end(10)

    assert os.listdir(tmp_path) == []


def test_an_end_that_failed_can_be_repeated(capture, tmp_path, monkeypatch):
    printed(capture, tmp_path / "a.1.out", b"kept")
    with monkeypatch.context() as patch:
        patch.setattr(disk, "give_name", refuse)
        with pytest.raises(OSError, match="space"):
            capture.end(10)

    assert capture.end(10) == b"kept"
    assert (tmp_path / "a.1.out").read_bytes() == b"kept"


def refuse(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_nameless_files(monkeypatch):
    """As a network file system answers."""
    monkeypatch.setattr(room, "_NAMELESS", os.O_DIRECTORY)


def no_such_flag(monkeypatch):
    """As another system."""
    monkeypatch.setattr(room, "_NAMELESS", 0)


@pytest.mark.parametrize("lacking", [no_nameless_files, no_such_flag])
def test_without_nameless_files_a_capture_has_its_name_from_the_start(
    tmp_path, monkeypatch, lacking
):
    lacking(monkeypatch)
    capture = Capture(str(tmp_path), 1)
    for name, data in (("a.1.out", b"a"), ("b.1.out", b""), ("c.1.out", b"c")):
        writer = begun(capture, tmp_path / name)
        assert (tmp_path / name).exists()
        os.write(writer, data)
        os.close(writer)
        assert capture.end(10) == data

    assert sorted(os.listdir(tmp_path)) == ["a.1.out", "c.1.out"]


def test_a_named_capture_replaces_the_log_of_an_earlier_attempt_of_this_number(
    tmp_path, monkeypatch
):
    no_such_flag(monkeypatch)
    (tmp_path / "a.1.out").write_text("old")
    capture = Capture(str(tmp_path), 1)
    printed(capture, tmp_path / "a.1.out", b"new")

    assert capture.end(10) == b"new"
    assert (tmp_path / "a.1.out").read_bytes() == b"new"


def test_a_named_capture_that_stayed_empty_is_closed_when_it_is_removed_also_at_a_second_try(
    tmp_path, monkeypatch
):
    no_such_flag(monkeypatch)
    capture = Capture(str(tmp_path), 1)
    printed(capture, tmp_path / "a.1.out", b"")
    is_open = []

    def unlink(path):
        is_open.append(capture._reader is not None)
        refuse()

    with monkeypatch.context() as patch:
        patch.setattr(disk, "unlink", unlink)
        with pytest.raises(OSError, match="space"):
            capture.end(10)
    assert capture.end(10) == b""

    assert is_open == [False]
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Capture(str(tmp_path / "gone"), 1).begin(str(tmp_path / "gone" / "a.1.out"))


def test_a_capture_whose_directory_is_on_another_file_system_by_now_is_copied(capture, tmp_path):
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system to write to")
    log = other / f"{tmp_path.name}-{os.getpid()}.out"
    try:
        printed(capture, log, b"kept")
        assert capture.end(10) == b"kept"
        assert log.read_bytes() == b"kept"
    finally:
        log.unlink(missing_ok=True)
