"""The probe: what a file system cannot do is told with its cure, and what cannot work is refused."""

import errno
import os
import subprocess

import pytest

from queuectl import Spool, disk, host, probe
from queuectl.host import Mount


def found(spool):
    return [(fault.check, fault.is_fatal) for fault in probe.probe(spool)]


def test_a_file_system_that_can_do_everything_has_no_fault_and_nothing_is_left(spool, path):
    assert found(spool) == []
    assert os.listdir(path / "tmp") == os.listdir(path / "pending") == []


@pytest.mark.parametrize(
    ("mount", "faults"),
    [
        (Mount("nfs4", frozenset({"rw", "hard", "vers=4.2", "local_lock=none"})), []),
        (Mount("nfs4", frozenset({"rw", "soft"})), [("mount", False)]),
        (Mount("nfs", frozenset({"rw", "nolock", "local_lock=all"})), [("mount", False)] * 2),
        (Mount("ext4", frozenset({"rw", "soft"})), []),
        (Mount("fuse.s3fs", frozenset({"rw"})), [("mount", True)]),
        (Mount("fuse.glusterfs", frozenset({"rw"})), []),
    ],
)
def test_mounts_that_are_risky_are_told_and_stores_of_objects_are_fatal(
    spool, monkeypatch, mount, faults
):
    monkeypatch.setattr(host, "mount", lambda path: mount)

    assert found(spool) == faults


def test_a_clock_that_is_off_is_told(spool, monkeypatch):
    real = disk.modified
    monkeypatch.setattr(disk, "modified", lambda path: real(path) + 3600)

    [fault] = probe.probe(spool)
    assert (fault.check, fault.is_fatal) == ("clock", False)
    assert "+3600" in fault.what.replace("3599.", "3600.")


def test_a_server_that_makes_us_somebody_else_is_told(spool, monkeypatch):
    monkeypatch.setattr(disk, "owner", lambda path: 65534)

    assert found(spool) == [("owner", False)]


def test_names_that_are_folded_are_told(spool, monkeypatch):
    real = disk.is_there
    monkeypatch.setattr(
        disk, "is_there", lambda path: real(path) or path.endswith(os.path.basename(path).upper())
    )

    assert ("case", False) in found(spool)


@pytest.mark.parametrize(("call", "check"), [("link", "file system"), ("sync", "file system")])
def test_what_cannot_be_done_without_is_fatal(spool, path, monkeypatch, call, check):
    monkeypatch.setattr(disk, call, refuse)

    assert found(spool) == [(check, True)]
    assert os.listdir(path / "tmp") == []


def test_locks_that_do_not_work_are_told(spool, monkeypatch):
    monkeypatch.setattr(disk, "is_held", refuse)

    assert found(spool) == [("locks", False)]


def refuse(*_, **__):
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def test_init_refuses_a_spool_on_two_file_systems_and_takes_back_what_it_made(queuectl, path):
    (path / "dead").mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "tmpfs", path / "dead"], capture_output=True, check=False
    ).returncode:
        pytest.skip("no mount of our own here")
    try:
        assert "one file system" in queuectl.refusal("init", code=1)
        assert os.listdir(path) == ["dead"]
    finally:
        subprocess.run(["umount", "-l", path / "dead"], check=True)


def test_init_makes_a_spool_and_says_where(queuectl, path):
    assert queuectl("init") == f"{path}\n"
    assert queuectl("init") == f"{path}\n"


@pytest.mark.parametrize(
    ("held", "faults"), [(None, []), (10.0, []), (50.0, []), (51.0, [("lease", False)])]
)
def test_a_lease_that_is_shorter_than_two_of_the_file_server_is_told(
    path, monkeypatch, held, faults
):
    monkeypatch.setattr(host, "server_lease", lambda path: held)

    assert found(Spool(path, {"worker_lost_after": 100.0}).make()) == faults


STATS = """device proc mounted on /proc with fstype proc
device server:/ mounted on /srv/some\\040jobs with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2
\tnfsv4:\tbm0=0xfdffbfff,acl=0x3,sessions,pnfs=not configured,lease_time=90,lease_expired=0
device server:/old mounted on /srv/old with fstype nfs statvers=1.1
\topts:\trw,vers=3
device server:/ mounted on /srv/jobs with fstype nfs4 statvers=1.1
\tnfsv4:\tbm0=0xfdffbfff,lease_time=15,lease_expired=0
"""


@pytest.mark.parametrize(
    ("point", "lease"),
    [
        ("/srv/jobs", 15.0),
        ("/srv/some jobs", 90.0),
        ("/srv/old", None),
        ("/", None),
        ("/proc", None),
    ],
)
def test_the_lease_of_the_file_server_is_in_the_statistics_of_the_mount(point, lease):
    assert host._lease_at(point, STATS) == lease
