"""Which build of queuectl each worker runs, and what is said when they differ."""

import json
import os

import pytest

from queuectl import __version__, doctor, liveness, lookup
from queuectl import build as room
from queuectl.build import build
from tests.support import Workers, until


@pytest.fixture
def worker(spool):
    """A living worker of a supervisor."""
    record, lock = liveness.enroll(spool, "super-1-abc", os.getppid())
    yield record
    os.close(lock)


def runs(path, worker, text):
    (path / "workers" / f"{worker.worker}.lock").write_text(text)


def said(spool):
    found = lookup.workers(spool, liveness.Observer(spool))
    return lookup.several_builds(found), [finding.what for finding in doctor.builds(spool)]


def test_a_worker_says_its_build_and_nobody_warns_if_all_run_the_same(spool, worker):
    [found] = lookup.workers(spool, liveness.Observer(spool))

    assert found["version"] == build()
    assert said(spool) == (None, [])


@pytest.mark.parametrize(("text", "shown"), [("0.0.9+0000beef\n", "0.0.9"), ("", "an older one")])
def test_another_build_is_told_with_its_hosts(spool, path, worker, text, shown):
    other, lock = liveness.enroll(spool, "super-1-abc", os.getppid())
    runs(path, other, text)

    listed, [found] = said(spool)

    assert shown in listed
    assert build() in listed
    assert worker.host in listed
    assert shown in found
    os.close(lock)


def test_the_doctor_tells_of_workers_that_run_another_build_than_its_own(spool, path, worker):
    runs(path, worker, "0.0.9\n")

    listed, [found] = said(spool)

    assert listed is None
    assert "this command" in found


def test_the_dead_and_other_programs_do_not_count(spool, path, worker):
    dead, lock = liveness.enroll(spool, "super-1-abc", os.getppid())
    os.close(lock)
    runs(path, dead, "0.0.9\n")
    foreign, lock = liveness.enroll(spool, "", os.getpid())
    runs(path, foreign, "")

    assert said(spool) == (None, [])
    os.close(lock)


@pytest.mark.parametrize("text", ["\0\0", "\x1b[31m", "é".encode("latin-1").decode("latin-1") * 9])
def test_a_strange_text_stops_nobody(spool, path, worker, text):
    (path / "workers" / f"{worker.worker}.lock").write_bytes(text.encode("latin-1"))

    assert liveness.build_of(spool, worker.worker) is None


def test_a_record_has_the_keys_that_earlier_versions_know_and_no_others(spool, path, worker):
    """They refuse a record with another key, and their workers run on while queuectl is upgraded."""
    record = json.loads((path / "workers" / f"{worker.worker}.json").read_text())

    assert list(record) == [
        "worker",
        "host",
        "boot",
        "space",
        "pid",
        "supervisor",
        "supervisor_pid",
        "started_at",
    ]


def test_a_record_of_a_later_version_with_more_keys_can_be_read(spool, path, worker):
    file = path / "workers" / f"{worker.worker}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": "green"}))

    assert liveness.read(spool, worker.worker) == worker


def test_the_commands_say_it(queuectl, path):
    with Workers(path) as workers:
        [record] = workers.up()
        lock = path / "workers" / f"{record['worker']}.lock"
        until(lock.read_text)
        assert queuectl.json("worker", "list")[0]["version"] == build()
        lock.write_text("0.0.9\n")

        assert "0.0.9" in queuectl.run("doctor").stdout
        assert queuectl.run("--version").stdout == f"queuectl, version {build()}\n"


def tree(path, files):
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return str(path)


def test_a_build_is_known_by_what_the_package_lists(tmp_path):
    place = f"queuectl-{__version__}.dist-info/RECORD"
    lines = "queuectl/a.py,sha256=x,1\nqueuectl/b.py,sha256=y,1\n"
    installed = "queuectl/__pycache__/a.pyc,,\n../../../bin/queuectl,sha256=z,9\n" + lines
    one = room._package(tree(tmp_path / "one", {place: lines}))

    assert one == room._package(tree(tmp_path / "two", {place: installed}))
    assert one != room._package(tree(tmp_path / "three", {place: lines.replace("=x", "=w")}))
    assert room._package(str(tmp_path)) == ""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"HEAD": "ref: refs/heads/main\n", "refs/heads/main": "0123456789abcdef\n"},
            "git.0123456",
        ),
        (
            {"HEAD": "ref: refs/heads/main\n", "packed-refs": "# x\n0123456789 refs/heads/main\n"},
            "git.0123456",
        ),
        ({"HEAD": "0123456789abcdef\n"}, "git.0123456"),
        ({"HEAD": "ref: refs/heads/main\n"}, ""),
        ({}, ""),
    ],
)
def test_a_checkout_is_known_by_its_commit(tmp_path, files, expected):
    tree(tmp_path / ".git", files)

    assert room._commit(str(tmp_path)) == expected
